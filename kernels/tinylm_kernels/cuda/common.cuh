// What the kernels share: number types, sums and maxima over a warp or a block. Every .cu file begins with it.
//
// A kernel computes in float; its arrays hold T, which is float, float16 or bfloat16, by -DNUMBER=... . No header of CUDA's is
// included, so that NVRTC needs none beside it.
#pragma once

#ifndef NUMBER
#define NUMBER float
#endif
#ifndef EMULATED
#define DYNAMIC_SHARED(type, name)                                   \
    extern __shared__ __align__(16) unsigned char name##_bytes[];    \
    type* const name = reinterpret_cast<type*>(name##_bytes)
#endif

#define ALL_LANES 0xffffffffu
#define WARP 32

// NVRTC knows no INFINITY.
__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

struct float16 { unsigned short bits; };
struct bfloat16 { unsigned short bits; };
typedef NUMBER T;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bfloat16 x) { return __int_as_float(int(x.bits) << 16); }
#ifdef EMULATED
__device__ __forceinline__ float to_float(float16 x) { return emulator_bits<_Float16>(x.bits); }
__device__ __forceinline__ unsigned short to_float16_bits(float x) { return emulator_bits<unsigned short>((_Float16)x); }
#else
__device__ __forceinline__ float to_float(float16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
__device__ __forceinline__ unsigned short to_float16_bits(float x) {
    unsigned short y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
#endif

// The nearest number of a type, to even where two are as near.
template <class To> __device__ __forceinline__ To from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ float16 from_float<float16>(float x) { return {to_float16_bits(x)}; }
template <> __device__ __forceinline__ bfloat16 from_float<bfloat16>(float x) {
    const unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fc0};  // NaN
    return {(unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

// The element of a thread that has one of its own.
__device__ __forceinline__ long long element() { return blockIdx.x * (long long)blockDim.x + threadIdx.x; }

struct Sum {
    __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};
struct Maximum {  // NaN wins, as in NumPy
    __device__ __forceinline__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

// op over the lanes of a warp; every lane gets the result.
template <class Operation> __device__ __forceinline__ float over_warp(float value, Operation op) {
    for (int by = WARP / 2; by > 0; by /= 2) value = op(value, __shfl_xor_sync(ALL_LANES, value, by));
    return value;
}

// op over the threads of a block, one warp or more, all of which call it; every thread gets the result. `shared` holds one number for
// each of its warps. A block of one warp needs no barrier.
template <class Operation> __device__ __forceinline__ float over_block(float value, Operation op, float* shared) {
    value = over_warp(value, op);
    if (blockDim.x == WARP) return value;
    __syncthreads();  // what an earlier call left there has been read
    if (threadIdx.x % WARP == 0) shared[threadIdx.x / WARP] = value;
    __syncthreads();
    value = shared[0];
    for (int warp = 1; warp < blockDim.x / WARP; warp++) value = op(value, shared[warp]);
    return value;
}

// The sum over the warps of a block of threads (32, COLUMN_WARPS), column by column; the first warp gets it.
constexpr int COLUMN_WARPS = 8;
__device__ __forceinline__ float over_warps(float value, float (*shared)[WARP]) {
    shared[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.y != 0) return value;
    for (int warp = 1; warp < COLUMN_WARPS; warp++) value += shared[warp][threadIdx.x];
    return value;
}
