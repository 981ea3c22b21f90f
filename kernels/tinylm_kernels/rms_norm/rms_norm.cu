// Root mean square normalisation over rows: one block a row; the gradient of the weight, one block a strip of columns.
#include "../cuda/common.cuh"

// y = x rstd weight, rstd = 1 / sqrt(mean x^2 + eps). x, y: (rows, columns); rstd: (rows,).
extern "C" __global__ void rms_norm(const T* __restrict__ x, const T* __restrict__ weight, T* __restrict__ y,
                                    T* __restrict__ rstd, int columns, float eps) {
    __shared__ float shared[WARP];
    x += blockIdx.x * (long long)columns, y += blockIdx.x * (long long)columns;
    float squares = 0.0f;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) squares += to_float(x[j]) * to_float(x[j]);
    const float factor = 1.0f / sqrtf(over_block(squares, Sum(), shared) / columns + eps);
    for (int j = threadIdx.x; j < columns; j += blockDim.x)
        y[j] = from_float<T>(to_float(x[j]) * factor * to_float(weight[j]));
    if (threadIdx.x == 0) rstd[blockIdx.x] = from_float<T>(factor);
}

// dx = rstd (d - n mean(d n)) with n = x rstd and d = dy weight.
extern "C" __global__ void rms_norm_backward(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ weight,
                                             const T* __restrict__ rstd, T* __restrict__ dx, int columns) {
    __shared__ float shared[WARP];
    const long long start = blockIdx.x * (long long)columns;
    dy += start, x += start, dx += start;
    const float factor = to_float(rstd[blockIdx.x]);
    float dot = 0.0f;
    for (int j = threadIdx.x; j < columns; j += blockDim.x)
        dot += to_float(dy[j]) * to_float(weight[j]) * to_float(x[j]) * factor;
    dot = over_block(dot, Sum(), shared) / columns;
    for (int j = threadIdx.x; j < columns; j += blockDim.x)
        dx[j] = from_float<T>(factor * (to_float(dy[j]) * to_float(weight[j]) - to_float(x[j]) * factor * dot));
}

// For each part of the rows, sum of dy n, column by column. dweights: (parts, columns). Threads (32, 8), as layer_norm's.
extern "C" __global__ void rms_norm_backward_columns(const T* __restrict__ dy, const T* __restrict__ x,
                                                     const T* __restrict__ rstd, float* __restrict__ dweights, int rows,
                                                     int columns) {
    __shared__ float products[COLUMN_WARPS][WARP];
    const int j = blockIdx.x * WARP + threadIdx.x;
    float product = 0.0f;
    for (int row = blockIdx.y * COLUMN_WARPS + threadIdx.y; row < rows && j < columns; row += gridDim.y * COLUMN_WARPS) {
        const long long at = row * (long long)columns + j;
        product += to_float(dy[at]) * to_float(x[at]) * to_float(rstd[row]);
    }
    product = over_warps(product, products);
    if (threadIdx.y == 0 && j < columns) dweights[blockIdx.y * columns + j] = product;
}
