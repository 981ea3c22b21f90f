// Layer normalisation over rows: one block a row; the gradients of weight and bias, one block a strip of columns.
#include "../cuda/common.cuh"

// y = (x - mean x) rstd weight + bias, rstd = 1 / sqrt(var x + eps). x, y: (rows, columns); mean, rstd: (rows,).
extern "C" __global__ void layer_norm(const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
                                      T* __restrict__ y, T* __restrict__ mean, T* __restrict__ rstd, int columns, float eps) {
    __shared__ float shared[WARP];
    x += blockIdx.x * (long long)columns, y += blockIdx.x * (long long)columns;
    float sum = 0.0f;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) sum += to_float(x[j]);
    const float average = over_block(sum, Sum(), shared) / columns;
    float squares = 0.0f;  // of what is left without the mean: a difference of sums would cancel
    for (int j = threadIdx.x; j < columns; j += blockDim.x) {
        const float rest = to_float(x[j]) - average;
        squares += rest * rest;
    }
    const float factor = 1.0f / sqrtf(over_block(squares, Sum(), shared) / columns + eps);
    for (int j = threadIdx.x; j < columns; j += blockDim.x)
        y[j] = from_float<T>((to_float(x[j]) - average) * factor * to_float(weight[j]) + to_float(bias[j]));
    if (threadIdx.x == 0) mean[blockIdx.x] = from_float<T>(average), rstd[blockIdx.x] = from_float<T>(factor);
}

// dx = rstd (d - mean(d) - n mean(d n)) with n = (x - mean) rstd and d = dy weight.
extern "C" __global__ void layer_norm_backward(const T* __restrict__ dy, const T* __restrict__ x,
                                               const T* __restrict__ weight, const T* __restrict__ mean,
                                               const T* __restrict__ rstd, T* __restrict__ dx, int columns) {
    __shared__ float shared[WARP];
    const long long start = blockIdx.x * (long long)columns;
    dy += start, x += start, dx += start;
    const float average = to_float(mean[blockIdx.x]), factor = to_float(rstd[blockIdx.x]);
    float sum = 0.0f, dot = 0.0f;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) {
        const float d = to_float(dy[j]) * to_float(weight[j]);
        sum += d, dot += d * (to_float(x[j]) - average) * factor;
    }
    sum = over_block(sum, Sum(), shared) / columns;
    dot = over_block(dot, Sum(), shared) / columns;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) {
        const float d = to_float(dy[j]) * to_float(weight[j]), n = (to_float(x[j]) - average) * factor;
        dx[j] = from_float<T>(factor * (d - sum - n * dot));
    }
}

// For each part of the rows, sum of dy n and sum of dy, column by column. dweights, dbiases: (parts, columns).
// Threads (32, 8): a warp reads 32 columns beside each other, eight of them take rows in turn.
extern "C" __global__ void layer_norm_backward_columns(const T* __restrict__ dy, const T* __restrict__ x,
                                                       const T* __restrict__ mean, const T* __restrict__ rstd,
                                                       float* __restrict__ dweights, float* __restrict__ dbiases,
                                                       int rows, int columns) {
    __shared__ float products[COLUMN_WARPS][WARP], sums[COLUMN_WARPS][WARP];
    const int j = blockIdx.x * WARP + threadIdx.x;
    float product = 0.0f, sum = 0.0f;
    for (int row = blockIdx.y * COLUMN_WARPS + threadIdx.y; row < rows && j < columns; row += gridDim.y * COLUMN_WARPS) {
        const float d = to_float(dy[row * (long long)columns + j]);
        sum += d;
        product += d * (to_float(x[row * (long long)columns + j]) - to_float(mean[row])) * to_float(rstd[row]);
    }
    product = over_warps(product, products), sum = over_warps(sum, sums);
    if (threadIdx.y != 0 || j >= columns) return;
    dweights[blockIdx.y * columns + j] = product, dbiases[blockIdx.y * columns + j] = sum;
}
