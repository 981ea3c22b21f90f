// Look-up of rows by id, and the sums of its gradient in a fixed order.
#include "../cuda/common.cuh"

// y[n] = table[ids[n]]: one block a position.
extern "C" __global__ void embedding(const T* __restrict__ table, const long long* __restrict__ ids, T* __restrict__ y,
                                     int columns) {
    const long long from = ids[blockIdx.x] * columns, to = blockIdx.x * (long long)columns;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) y[to + j] = table[from + j];
}

// dtable[v] += sum of dy[n] over the positions n with ids[n] = v. order: the positions, sorted by id and then by
// themselves. The block at which the run of an id begins adds all of it, in that order: no atomics, the same bits each time.
extern "C" __global__ void embedding_backward(const T* __restrict__ dy, const long long* __restrict__ ids,
                                              const long long* __restrict__ order, T* __restrict__ dtable,
                                              long long positions, int columns) {
    const long long first = blockIdx.x, id = ids[order[first]];
    if (first > 0 && ids[order[first - 1]] == id) return;
    for (int j = threadIdx.x; j < columns; j += blockDim.x) {
        float sum = to_float(dtable[id * columns + j]);
        for (long long i = first; i < positions && ids[order[i]] == id; i++) sum += to_float(dy[order[i] * columns + j]);
        dtable[id * columns + j] = from_float<T>(sum);
    }
}
