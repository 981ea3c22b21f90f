// Softmax and cross-entropy in one: one block a row of logits.
#include "../cuda/common.cuh"

// losses[n] = w ((1 - s) (L - logits[n, target]) + s (L - mean logits[n])), L = log sum exp logits[n]; and, unless `gradient` is
// null, gradient[n, j] = scale w (softmax[j] - (1 - s) [j = target] - s / V). Rows that are ignored or weigh 0 have zeros.
// logits, gradient: (N, V), perhaps the same memory; targets, weights, losses: (N,); weights may be null.
extern "C" __global__ void cross_entropy(const T* logits, const long long* __restrict__ targets,
                                         const T* __restrict__ weights, T* __restrict__ losses, T* gradient, int V,
                                         long long ignore, float smoothing, float scale) {
    __shared__ float shared[WARP];
    const long long target = targets[blockIdx.x];
    const float weight = weights ? to_float(weights[blockIdx.x]) : 1.0f;
    logits += blockIdx.x * (long long)V;
    if (gradient) gradient += blockIdx.x * (long long)V;
    if (target == ignore || weight == 0.0f) {  // whatever its logits are
        if (threadIdx.x == 0) losses[blockIdx.x] = from_float<T>(0.0f);
        for (int j = threadIdx.x; gradient && j < V; j += blockDim.x) gradient[j] = from_float<T>(0.0f);
        return;
    }
    float peak = -infinity(), sum = 0.0f, plain = 0.0f;
    for (int j = threadIdx.x; j < V; j += blockDim.x) {
        const float value = to_float(logits[j]), before = peak;
        peak = Maximum()(peak, value), plain += value;
        if (peak != -infinity()) sum = sum * expf(before - peak) + expf(value - peak);
    }
    const float highest = over_block(peak, Maximum(), shared), hit = to_float(logits[target]);
    const float total = over_block(peak == -infinity() ? 0.0f : sum * expf(peak - highest), Sum(), shared);
    const float log_sum = logf(total) + highest;
    float loss = log_sum - hit;
    if (smoothing != 0.0f)
        loss = (1.0f - smoothing) * loss + smoothing * (log_sum - over_block(plain, Sum(), shared) / V);
    if (threadIdx.x == 0) losses[blockIdx.x] = from_float<T>(loss * weight);
    if (!gradient) return;
    __syncthreads();  // the gradient may take the place of the logits: all have read the target's
    const float factor = scale * weight / total, less = scale * weight * smoothing / V;
    for (int j = threadIdx.x; j < V; j += blockDim.x) {
        float slope = expf(to_float(logits[j]) - highest) * factor - less;
        if (j == target) slope -= scale * weight * (1.0f - smoothing);
        gradient[j] = from_float<T>(slope);
    }
}
