// Adam over flat buffers, one thread an element; the sum of squares that clipping needs.
#include "../cuda/common.cuh"

// One step: g <- scale g; decoupled: p <- keep p, otherwise g <- g + decay p; m and v as in the reference; p <- p - rate m /
// (sqrt(v) second + eps), where rate = lr / (1 - beta1^step) and second = 1 / sqrt(1 - beta2^step). The results may take the
// place of p, m and v.
extern "C" __global__ void adamw(const T* p, const T* __restrict__ g, const T* m, const T* v, T* p_out, T* m_out, T* v_out,
                                 long long size, float scale, float beta1, float beta2, float first, float other, float rate,
                                 float second, float eps, float keep, float decay) {
    const long long i = element();
    if (i >= size) return;
    const float parameter = to_float(p[i]), gradient = to_float(g[i]) * scale + decay * parameter;
    const float mean = beta1 * to_float(m[i]) + first * gradient;
    const float square = beta2 * to_float(v[i]) + other * gradient * gradient;
    m_out[i] = from_float<T>(mean), v_out[i] = from_float<T>(square);
    p_out[i] = from_float<T>(keep * parameter - rate * mean / (sqrtf(square) * second + eps));
}

// sums[block] = the sum of the squares that a block sees, in double.
extern "C" __global__ void squared_norm(const T* __restrict__ x, double* __restrict__ sums, long long size) {
    __shared__ double shared[WARP];
    double sum = 0.0;
    for (long long i = element(); i < size; i += gridDim.x * (long long)blockDim.x) {
        const double value = to_float(x[i]);
        sum += value * value;
    }
    for (int by = WARP / 2; by > 0; by /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, by);
    if (threadIdx.x % WARP == 0) shared[threadIdx.x / WARP] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int warp = 1; warp < blockDim.x / WARP; warp++) sum += shared[warp];
    sums[blockIdx.x] = sum;
}
