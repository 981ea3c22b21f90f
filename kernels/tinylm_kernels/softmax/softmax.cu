// Softmax along rows: one block a row.
#include "../cuda/common.cuh"

// y = exp(x - max x) / sum exp(x - max x). x, y: (rows, columns).
//
// One pass finds the maximum and the sum together: each thread keeps both for what it has seen, and scales its sum when its
// maximum grows. Source: Milakov, Gimelshein 2018, arXiv:1805.02867, algorithm 3.
extern "C" __global__ void softmax(const T* __restrict__ x, T* __restrict__ y, int columns) {
    __shared__ float shared[WARP];
    x += blockIdx.x * (long long)columns, y += blockIdx.x * (long long)columns;
    float peak = -infinity(), sum = 0.0f;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) {
        const float value = to_float(x[j]), before = peak;
        peak = Maximum()(peak, value);
        if (peak != -infinity()) sum = sum * expf(before - peak) + expf(value - peak);
    }
    float highest = over_block(peak, Maximum(), shared);
    if (highest == -infinity()) highest = 0.0f;  // a row of masks alone: exp(-inf - 0) = 0
    const float total = over_block(sum * expf(peak - highest), Sum(), shared);
    const float factor = total == 0.0f ? 1.0f : 1.0f / total;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) y[j] = from_float<T>(expf(to_float(x[j]) - highest) * factor);
}

// dx = y (dy - sum dy y). dy, y, dx: (rows, columns).
extern "C" __global__ void softmax_backward(const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx,
                                            int columns) {
    __shared__ float shared[WARP];
    const long long start = blockIdx.x * (long long)columns;
    dy += start, y += start, dx += start;
    float dot = 0.0f;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) dot += to_float(dy[j]) * to_float(y[j]);
    dot = over_block(dot, Sum(), shared);
    for (int j = threadIdx.x; j < columns; j += blockDim.x) dx[j] = from_float<T>(to_float(y[j]) * (to_float(dy[j]) - dot));
}
