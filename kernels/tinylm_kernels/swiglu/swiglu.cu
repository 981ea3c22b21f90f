// SiLU, alone and as a gate: one thread an element.
#include "../cuda/common.cuh"

struct Sigmoid {
    float value, slope;
};

// s = 1 / (1 + e^-x) and s (1 - s), through e^-|x|: nothing overflows, and 1 - s does not cancel.
__device__ __forceinline__ Sigmoid sigmoid(float x) {
    const float power = expf(-fabsf(x)), larger = 1.0f / (1.0f + power);
    return {x < 0.0f ? power * larger : larger, power * larger * larger};
}

// y = x s(x).
extern "C" __global__ void silu(const T* __restrict__ x, T* __restrict__ y, long long size) {
    const long long i = element();
    if (i >= size) return;
    const float value = to_float(x[i]);
    y[i] = from_float<T>(value * sigmoid(value).value);
}

// dx = dy (s + x s (1 - s)).
extern "C" __global__ void silu_backward(const T* __restrict__ dy, const T* __restrict__ x, T* __restrict__ dx,
                                         long long size) {
    const long long i = element();
    if (i >= size) return;
    const float value = to_float(x[i]);
    const Sigmoid s = sigmoid(value);
    dx[i] = from_float<T>(to_float(dy[i]) * (s.value + value * s.slope));
}

// y = silu(gate) up.
extern "C" __global__ void swiglu(const T* __restrict__ gate, const T* __restrict__ up, T* __restrict__ y, long long size) {
    const long long i = element();
    if (i >= size) return;
    const float value = to_float(gate[i]);
    y[i] = from_float<T>(value * sigmoid(value).value * to_float(up[i]));
}

// dgate = dy up (s + gate s (1 - s)), dup = dy gate s.
extern "C" __global__ void swiglu_backward(const T* __restrict__ dy, const T* __restrict__ gate, const T* __restrict__ up,
                                           T* __restrict__ dgate, T* __restrict__ dup, long long size) {
    const long long i = element();
    if (i >= size) return;
    const float value = to_float(gate[i]), gradient = to_float(dy[i]);
    const Sigmoid s = sigmoid(value);
    dgate[i] = from_float<T>(gradient * to_float(up[i]) * (s.value + value * s.slope));
    dup[i] = from_float<T>(gradient * value * s.value);
}
