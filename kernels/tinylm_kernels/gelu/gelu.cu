// The Gaussian error linear unit: one thread an element.
#include "../cuda/common.cuh"

constexpr float SQRT_2_OVER_PI = 0.7978845608028654f, CUBIC = 0.044715f;
constexpr float SQRT_HALF = 0.7071067811865476f, DENSITY_AT_0 = 0.3989422804014327f;

// Phi(x), by the complement of the error function, which does not cancel for x < 0.
__device__ __forceinline__ float normal_distribution(float x) { return 0.5f * erfcf(-x * SQRT_HALF); }

// t = tanh(sqrt(2 / pi) (x + 0.044715 x^3)), the other form's term.
__device__ __forceinline__ float tanh_term(float x) { return tanhf(SQRT_2_OVER_PI * (x + CUBIC * x * x * x)); }

// y = x / 2 (1 + t); exact: y = x Phi(x).
extern "C" __global__ void gelu(const T* __restrict__ x, T* __restrict__ y, long long size, bool exact) {
    const long long i = element();
    if (i >= size) return;
    const float value = to_float(x[i]);
    y[i] = from_float<T>(value * (exact ? normal_distribution(value) : 0.5f * (1.0f + tanh_term(value))));
}

// dx = dy ((1 + t) / 2 + x (1 - t^2) u' / 2); exact: dx = dy (Phi(x) + x e^(-x^2 / 2) / sqrt(2 pi)).
extern "C" __global__ void gelu_backward(const T* __restrict__ dy, const T* __restrict__ x, T* __restrict__ dx,
                                         long long size, bool exact) {
    const long long i = element();
    if (i >= size) return;
    const float value = to_float(x[i]);
    float slope;
    if (exact) {
        slope = normal_distribution(value) + value * DENSITY_AT_0 * expf(-0.5f * value * value);
    } else {
        const float t = tanh_term(value);
        slope = 0.5f * (1.0f + t) + 0.5f * value * (1.0f - t * t) * SQRT_2_OVER_PI * (1.0f + 3.0f * CUBIC * value * value);
    }
    dx[i] = from_float<T>(to_float(dy[i]) * slope);
}
