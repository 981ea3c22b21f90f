// Dropout by Philox4x32-10: one thread four elements of a row, which one counter decides on.
#include "../cuda/common.cuh"

// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", table 2. The same words as on the CPU.
__device__ __forceinline__ uint4 philox(uint4 counter, uint2 key) {
    for (int round = 0; round < 10; round++) {
        const unsigned high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
        const unsigned high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
        counter = make_uint4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
        key.x += 0x9E3779B9u, key.y += 0xBB67AE85u;
    }
    return counter;
}

// y = x factor where the element's word is at least `threshold`, else 0. x, y: (rows, columns). A row's number in the global
// batch is first_row + its number here.
extern "C" __global__ void dropout(const T* __restrict__ x, T* __restrict__ y, long long rows, long long columns,
                                   unsigned first_row, unsigned site, unsigned step, unsigned long long seed,
                                   unsigned threshold, float factor) {
    const long long blocks = (columns + 3) / 4, i = element();
    if (i >= rows * blocks) return;
    const long long row = i / blocks, block = i % blocks;
    const uint2 key = {(unsigned)seed, (unsigned)(seed >> 32)};
    const uint4 words = philox(make_uint4((unsigned)block, first_row + (unsigned)row, site, step), key);
    const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const long long column = 4 * block + k, at = row * columns + column;
        if (column < columns) y[at] = from_float<T>(to_float(x[at]) * (word[k] >= threshold ? factor : 0.0f));
    }
}
