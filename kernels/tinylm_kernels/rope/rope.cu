// Rotary positions: one block a row of columns.
#include "../cuda/common.cuh"

// Each pair (a, b) of a row's columns becomes (a cos - b sin, b cos + a sin); the columns from 2 pairs on stay.
// x, y: (rows, columns), the rows of (B, H, T); cos, sin: (positions there are, pairs); positions: (B, T), or null for 0..T-1.
extern "C" __global__ void rope(const T* __restrict__ x, const T* __restrict__ cosine, const T* __restrict__ sine,
                                const long long* __restrict__ positions, T* __restrict__ y, int heads, int times,
                                int columns, int pairs, bool interleaved, bool inverse) {
    const long long row = blockIdx.x, time = row % times;
    const long long position = positions ? positions[row / times / heads * times + time] : time;
    x += row * columns, y += row * columns, cosine += position * pairs, sine += position * pairs;
    for (int i = threadIdx.x; i < pairs; i += blockDim.x) {
        const int first = interleaved ? 2 * i : i, second = interleaved ? 2 * i + 1 : i + pairs;
        const float a = to_float(x[first]), b = to_float(x[second]), c = to_float(cosine[i]);
        const float s = inverse ? -to_float(sine[i]) : to_float(sine[i]);
        y[first] = from_float<T>(a * c - b * s), y[second] = from_float<T>(b * c + a * s);
    }
    for (int j = 2 * pairs + threadIdx.x; j < columns; j += blockDim.x) y[j] = x[j];
}
