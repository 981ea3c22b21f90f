// CUDA's words for g++: included before a .cu file, it makes of each kernel a function that one thread after the
// other runs (machine.cpp). Only what the kernels here use is declared; the rest is an error of the compiler.
#pragma once
#include <cmath>
#include <cstring>
#include "machine.h"

#define EMULATED 1
#define __global__
#define __device__ __attribute__((unused))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __constant__ static const
// The shared arrays of a file lie in a section of their own: the machine poisons it before every block.
#define __shared__ static __attribute__((section("cuda_shared")))
#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(emulator_dynamic_shared())
// Inlined, so that what it calls is called from the kernel's own line.
#define EMULATOR_INLINE static inline __attribute__((always_inline, unused))

constexpr int warpSize = 32;

// Vectors, aligned as on the card: a misaligned one is found by -fsanitize=alignment.
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
EMULATOR_INLINE float2 make_float2(float x, float y) { return {x, y}; }
EMULATOR_INLINE float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
EMULATOR_INLINE uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Bits and arithmetic.
template <class To, class From> EMULATOR_INLINE To emulator_bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "bits of another size");
    To bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
EMULATOR_INLINE float __int_as_float(int bits) { return emulator_bits<float>(bits); }
EMULATOR_INLINE int __float_as_int(float value) { return emulator_bits<int>(value); }
EMULATOR_INLINE float __uint_as_float(unsigned bits) { return emulator_bits<float>(bits); }
EMULATOR_INLINE unsigned __float_as_uint(float value) { return emulator_bits<unsigned>(value); }
EMULATOR_INLINE unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
EMULATOR_INLINE int __popc(unsigned bits) { return __builtin_popcount(bits); }
EMULATOR_INLINE int __ffs(int bits) { return __builtin_ffs(bits); }
EMULATOR_INLINE int __clz(int bits) { return bits ? __builtin_clz(bits) : 32; }
EMULATOR_INLINE int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 32; i += 8) sum += (signed char)(a >> i) * (signed char)(b >> i);
    return sum;
}
EMULATOR_INLINE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
#define __expf expf
#define __logf logf
EMULATOR_INLINE float __fdividef(float x, float y) { return x / y; }
template <class T> EMULATOR_INLINE T __ldg(const T* at) { return *at; }
template <class T> EMULATOR_INLINE T min(T a, T b) { return b < a ? b : a; }
template <class T> EMULATOR_INLINE T max(T a, T b) { return a < b ? b : a; }

// Lanes that read each other's registers. `width` parts the warp; a lane beyond its part keeps its own value.
EMULATOR_INLINE int emulator_lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % warpSize;
}
template <class T> EMULATOR_INLINE T emulator_read_lane(unsigned mask, T value, int lane, int width) {
    const int mine = emulator_lane(), first = mine & ~(width - 1);
    T received;
    if (width < 1 || width > 32 || (width & (width - 1))) emulator_refuse("a width that is no power of 2");
    emulator_exchange(mask, &value, sizeof value, lane < first || lane >= first + width ? mine : lane, &received);
    return received;
}
#define EMULATOR_SHUFFLE(name, lane)                                                              \
    template <class T> EMULATOR_INLINE T name(unsigned mask, T value, int by, int width = 32) {   \
        const int mine = emulator_lane();                                                         \
        return emulator_read_lane(mask, value, lane, width);                                      \
    }
EMULATOR_SHUFFLE(__shfl_sync, (mine & ~(width - 1)) + (by & (width - 1)))
EMULATOR_SHUFFLE(__shfl_xor_sync, mine ^ by)
EMULATOR_SHUFFLE(__shfl_up_sync, mine - by)
EMULATOR_SHUFFLE(__shfl_down_sync, mine + by)
EMULATOR_INLINE unsigned __ballot_sync(unsigned mask, bool predicate) {
    return emulator_vote(mask, predicate);
}
EMULATOR_INLINE bool __any_sync(unsigned mask, bool predicate) { return emulator_vote(mask, predicate); }
EMULATOR_INLINE bool __all_sync(unsigned mask, bool predicate) {
    return emulator_vote(mask, predicate) == mask;
}

// Atomic operations: threads take turns here, so that plain code is atomic; the checks must not take it for plain.
#define EMULATOR_ATOMIC(name, result)                                                              \
    template <class T> __attribute__((noinline, unused, no_sanitize("thread"))) static T name(T* at, T value) { \
        emulator_atomic(at, sizeof value, __builtin_return_address(0));                            \
        const T old = *at;                                                                         \
        *at = result;                                                                              \
        return old;                                                                                \
    }
EMULATOR_ATOMIC(atomicAdd, old + value)
EMULATOR_ATOMIC(atomicMax, old < value ? value : old)
EMULATOR_ATOMIC(atomicMin, value < old ? value : old)
EMULATOR_ATOMIC(atomicExch, value)
