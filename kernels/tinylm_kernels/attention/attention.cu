// Attention whose scores never exist at once, forward and backward. Source: Dao et al. 2022, arXiv:2205.14135.
//
// A block has ROWS rows of its own, R for each warp, and walks over the rows of the other side in tiles of 32: a lane has
// one of a tile, computes the score of it with each of the warp's rows, and then adds its columns of the result. Forward and
// for dq the rows are queries and the tiles keys; for dk and dv the other way round, so that no gradient needs an atomic.
#include "../cuda/common.cuh"

// Columns of a result that a lane has: 32 PARTS hold the widest of D and E.
#ifndef PARTS
#define PARTS 2
#endif
constexpr int WARPS = 8, R = PARTS > 4 ? 2 : 4, ROWS = WARPS * R;

// One head of one batch row: sizes, and who sees whom.
struct Head {
    int T, S, D, E;
    long long offset;              // query t stands at the key offset + t
    const unsigned char* key_mask; // (S,) or null
    const float* bias;             // (T, S) by its strides, or null
    long long bias_t, bias_s;
    bool causal;
    int left, right;  // keys before and after that are seen; below 0: all
    float softcap, scale;

    __device__ __forceinline__ bool sees(int t, int s) const {
        const long long at = offset + t;
        return t < T && s < S && (!causal || s <= at) && (left < 0 || s >= at - left) && (right < 0 || s <= at + right) &&
               (!key_mask || key_mask[s]);
    }
    // The keys that the queries from `first` to `last` may see, as a range.
    __device__ __forceinline__ void keys(int first, int last, int* from, int* to) const {
        const long long lowest = left < 0 ? 0 : offset + first - left;
        const long long end = causal ? offset + last + 1 : right < 0 ? S : offset + last + right + 1;
        *from = (int)min(max(lowest, 0ll), (long long)S), *to = (int)max(min(end, (long long)S), 0ll);
    }
    // What is added to a product, times scale: the soft cap first, then the bias.
    __device__ __forceinline__ float score(float product, int t, int s) const {
        float value = product * scale;
        if (softcap > 0.0f) value = softcap * tanhf(value / softcap);
        return bias ? value + bias[t * bias_t + s * bias_s] : value;
    }
    // d score / d product.
    __device__ __forceinline__ float slope(float product) const {
        const float t = softcap > 0.0f ? tanhf(product * scale / softcap) : 0.0f;
        return scale * (1.0f - t * t);
    }
};

__device__ __forceinline__ Head head_of(int H, int T, int S, int D, int E, const unsigned char* key_mask, const float* bias,
                                        long long bias_b, long long bias_h, long long bias_t, long long bias_s,
                                        const long long* offsets, bool causal, int left, int right, float softcap,
                                        float scale, int b, int h) {
    return {T, S, D, E, offsets ? offsets[b] : (long long)S - T, key_mask ? key_mask + b * (long long)S : nullptr,
            bias ? bias + b * bias_b + h * bias_h : nullptr, bias_t, bias_s, causal, left, right, softcap, scale};
}

// `count` rows from row `first` on, of `rows` there are, into shared memory, `pitch` numbers apart; zeros beyond the last.
__device__ __forceinline__ void load_rows(const T* from, int first, int count, int rows, int width, float* to, int pitch) {
    for (int i = threadIdx.x; i < count * width; i += WARPS * WARP) {
        const int row = i / width, column = i % width;
        to[row * pitch + column] = first + row < rows ? to_float(from[(first + row) * (long long)width + column]) : 0.0f;
    }
}

// The products of each of the warp's rows (in shared memory, `width` apart) with the lane's row of a tile.
__device__ __forceinline__ void products(const float* mine, const float* row, int width, float* result) {
#pragma unroll
    for (int r = 0; r < R; r++) result[r] = 0.0f;
    for (int d = 0; d < width; d++) {
        const float value = row[d];
#pragma unroll
        for (int r = 0; r < R; r++) result[r] += mine[r * width + d] * value;
    }
}

// sums[r] += sum over the tile's rows of the weight that their lanes have, times the row.
__device__ __forceinline__ void add_rows(float weight, const float* tile, int pitch, int width, float* sums) {
    const int lane = threadIdx.x % WARP;
    for (int j = 0; j < WARP; j++) {
        const float w = __shfl_sync(ALL_LANES, weight, j);
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            const int column = part * WARP + lane;
            if (column < width) sums[part] += w * tile[j * pitch + column];
        }
    }
}

// The columns that each lane has of the warp's rows, from row `first` on, of `rows` there are.
__device__ __forceinline__ void store_rows(const float (*result)[PARTS], T* to, int first, int rows, int width) {
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            const int column = part * WARP + threadIdx.x % WARP;
            if (first + r < rows && column < width) to[(first + r) * (long long)width + column] = from_float<T>(result[r][part]);
        }
    }
}

// y = softmax(scale q k^T + bias) v and the logarithm of each row's sum. q: (B, H, T, D); k: (B, G, S, D); v: (B, G, S, E);
// y: (B, H, T, E); log_sum_exp: (B, H, T). Grid (T / ROWS, H, B), 256 threads.
extern "C" __global__ void __launch_bounds__(256, 1)
    attention(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
              const unsigned char* __restrict__ key_mask, const float* __restrict__ bias, long long bias_b, long long bias_h,
              long long bias_t, long long bias_s, const long long* __restrict__ offsets, T* __restrict__ y,
              T* __restrict__ log_sum_exp, int G, int times, int S, int D, int E, bool causal, int left, int right,
              float softcap, float scale) {
    DYNAMIC_SHARED(float, shared);
    float *queries = shared, *keys = queries + ROWS * D, *values = keys + WARP * (D + 1);
    const int H = gridDim.y, h = blockIdx.y, b = blockIdx.z, g = h / (H / G), lane = threadIdx.x % WARP;
    const Head head = head_of(H, times, S, D, E, key_mask, bias, bias_b, bias_h, bias_t, bias_s, offsets, causal, left,
                              right, softcap, scale, b, h);
    const int first = blockIdx.x * ROWS, mine = threadIdx.x / WARP * R;
    const long long row = (b * (long long)H + h) * times, other = (b * (long long)G + g) * S;
    load_rows(q + row * D, first, ROWS, times, D, queries, D);
    float peak[R], sum[R], result[R][PARTS];
#pragma unroll
    for (int r = 0; r < R; r++) {
        peak[r] = -infinity(), sum[r] = 0.0f;
#pragma unroll
        for (int part = 0; part < PARTS; part++) result[r][part] = 0.0f;
    }
    int from, to;
    head.keys(first, min(first + ROWS, times) - 1, &from, &to);
    for (int start = from; start < to; start += WARP) {
        __syncthreads();  // the tile before has been used
        load_rows(k + other * D, start, WARP, S, D, keys, D + 1);
        load_rows(v + other * E, start, WARP, S, E, values, E + 1);
        __syncthreads();
        float score[R];
        products(queries + mine * D, keys + lane * (D + 1), D, score);
#pragma unroll
        for (int r = 0; r < R; r++) {
            const int t = first + mine + r, s = start + lane;
            score[r] = head.sees(t, s) ? head.score(score[r], t, s) : -infinity();
            const float before = peak[r];
            peak[r] = over_warp(Maximum()(before, score[r]), Maximum());
            const float base = peak[r] == -infinity() ? 0.0f : peak[r], weight = expf(score[r] - base);
            const float shrunk = expf(before - base);
            sum[r] = sum[r] * shrunk + over_warp(weight, Sum());
#pragma unroll
            for (int part = 0; part < PARTS; part++) result[r][part] *= shrunk;
            add_rows(weight, values, E + 1, E, result[r]);
        }
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int t = first + mine + r;
#pragma unroll
        for (int part = 0; part < PARTS; part++) result[r][part] *= sum[r] == 0.0f ? 1.0f : 1.0f / sum[r];
        if (t < times && lane == 0)
            log_sum_exp[row + t] = from_float<T>(sum[r] == 0.0f ? -infinity() : logf(sum[r]) + peak[r]);
    }
    store_rows(result, y + row * E, first + mine, times, E);
}

// A pair of query and key: its weight P and dS of its product. delta = sum dy y of the query.
struct Pair {
    float weight, gradient;
};
__device__ __forceinline__ Pair pair_of(const Head& head, int t, int s, float product, float dp, float log_sum,
                                        float delta) {
    if (!head.sees(t, s) || log_sum == -infinity()) return {0.0f, 0.0f};
    const float weight = expf(head.score(product, t, s) - log_sum);
    return {weight, weight * (dp - delta) * head.slope(product)};
}

// dq = dS k: the rows are queries. Grid (T / ROWS, H, B). dy, delta, log_sum_exp as the forward's y and log_sum_exp.
extern "C" __global__ void __launch_bounds__(256, 1)
    attention_backward_queries(const T* __restrict__ dy, const T* __restrict__ q, const T* __restrict__ k,
                               const T* __restrict__ v, const float* __restrict__ delta, const T* __restrict__ log_sum_exp,
                               const unsigned char* __restrict__ key_mask, const float* __restrict__ bias, long long bias_b,
                               long long bias_h, long long bias_t, long long bias_s, const long long* __restrict__ offsets,
                               T* __restrict__ dq, int G, int times, int S, int D, int E, bool causal, int left, int right,
                               float softcap, float scale) {
    DYNAMIC_SHARED(float, shared);
    float *queries = shared, *slopes = queries + ROWS * D, *keys = slopes + ROWS * E, *values = keys + WARP * (D + 1);
    const int H = gridDim.y, h = blockIdx.y, b = blockIdx.z, g = h / (H / G), lane = threadIdx.x % WARP;
    const Head head = head_of(H, times, S, D, E, key_mask, bias, bias_b, bias_h, bias_t, bias_s, offsets, causal, left,
                              right, softcap, scale, b, h);
    const int first = blockIdx.x * ROWS, mine = threadIdx.x / WARP * R;
    const long long row = (b * (long long)H + h) * times, other = (b * (long long)G + g) * S;
    load_rows(q + row * D, first, ROWS, times, D, queries, D);
    load_rows(dy + row * E, first, ROWS, times, E, slopes, E);
    float result[R][PARTS] = {};
    int from, to;
    head.keys(first, min(first + ROWS, times) - 1, &from, &to);
    for (int start = from; start < to; start += WARP) {
        __syncthreads();
        load_rows(k + other * D, start, WARP, S, D, keys, D + 1);
        load_rows(v + other * E, start, WARP, S, E, values, E + 1);
        __syncthreads();
        float product[R], dp[R];
        products(queries + mine * D, keys + lane * (D + 1), D, product);
        products(slopes + mine * E, values + lane * (E + 1), E, dp);
#pragma unroll
        for (int r = 0; r < R; r++) {
            const int t = first + mine + r;
            const bool there = t < times;
            const Pair pair = pair_of(head, t, start + lane, product[r], dp[r],
                                      there ? to_float(log_sum_exp[row + t]) : 0.0f, there ? delta[row + t] : 0.0f);
            add_rows(pair.gradient, keys, D + 1, D, result[r]);
        }
    }
    store_rows(result, dq + row * D, first + mine, times, D);
}

// dk = dS^T q and dv = P^T dy: the rows are keys, of one head of keys; the queries of all heads that it serves come by in
// tiles. Grid (S / ROWS, G, B).
extern "C" __global__ void __launch_bounds__(256, 1)
    attention_backward_keys(const T* __restrict__ dy, const T* __restrict__ q, const T* __restrict__ k,
                            const T* __restrict__ v, const float* __restrict__ delta, const T* __restrict__ log_sum_exp,
                            const unsigned char* __restrict__ key_mask, const float* __restrict__ bias, long long bias_b,
                            long long bias_h, long long bias_t, long long bias_s, const long long* __restrict__ offsets,
                            T* __restrict__ dk, T* __restrict__ dv, int H, int times, int S, int D, int E, bool causal,
                            int left, int right, float softcap, float scale) {
    DYNAMIC_SHARED(float, shared);
    float *keys = shared, *values = keys + ROWS * D, *queries = values + ROWS * E, *slopes = queries + WARP * (D + 1);
    const int G = gridDim.y, g = blockIdx.y, b = blockIdx.z, lane = threadIdx.x % WARP;
    const int first = blockIdx.x * ROWS, mine = threadIdx.x / WARP * R;
    const long long own = (b * (long long)G + g) * S;
    load_rows(k + own * D, first, ROWS, S, D, keys, D);
    load_rows(v + own * E, first, ROWS, S, E, values, E);
    float of_keys[R][PARTS] = {}, of_values[R][PARTS] = {};
    for (int h = g * (H / G); h < (g + 1) * (H / G); h++) {
        const Head head = head_of(H, times, S, D, E, key_mask, bias, bias_b, bias_h, bias_t, bias_s, offsets, causal, left,
                                  right, softcap, scale, b, h);
        const long long row = (b * (long long)H + h) * times;
        for (int start = 0; start < times; start += WARP) {
            int from, to;
            head.keys(start, min(start + WARP, times) - 1, &from, &to);
            if (to <= first || from >= first + ROWS) continue;  // these queries see none of the block's keys
            __syncthreads();
            load_rows(q + row * D, start, WARP, times, D, queries, D + 1);
            load_rows(dy + row * E, start, WARP, times, E, slopes, E + 1);
            __syncthreads();
            float product[R], dp[R];
            products(keys + mine * D, queries + lane * (D + 1), D, product);
            products(values + mine * E, slopes + lane * (E + 1), E, dp);
            const int t = start + lane;
            const float log_sum = t < times ? to_float(log_sum_exp[row + t]) : 0.0f, sum = t < times ? delta[row + t] : 0.0f;
#pragma unroll
            for (int r = 0; r < R; r++) {
                const Pair pair = pair_of(head, t, first + mine + r, product[r], dp[r], log_sum, sum);
                add_rows(pair.gradient, queries, D + 1, D, of_keys[r]);
                add_rows(pair.weight, slopes, E + 1, E, of_values[r]);
            }
        }
    }
    store_rows(of_keys, dk + own * D, first + mine, S, D);
    store_rows(of_values, dv + own * E, first + mine, S, E);
}
