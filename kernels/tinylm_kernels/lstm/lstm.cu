// The LSTM over a whole sequence in one launch: a block has one row of the batch, a thread one gate of one unit, and the
// state stays in shared memory from step to step. For 4 H up to a block's 1024 threads.
#include "../cuda/common.cuh"

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// gates: (B, T, 4H), x W_input^T + bias when called, what the gates are after their activations when done; w_hidden: (H, 4H), the
// transpose, so that threads beside each other read numbers beside each other; h0, c0: (B, H); lengths: (B,) or null;
// peepholes: (3H,) or null; y, cells: (B, T, H); h, c: (B, H). Grid B, at least 4H threads.
extern "C" __global__ void __launch_bounds__(1024, 1)
    lstm(T* __restrict__ gates, const T* __restrict__ w_hidden, const T* __restrict__ h0, const T* __restrict__ c0,
         const long long* __restrict__ lengths, const T* __restrict__ peepholes, T* __restrict__ y, T* __restrict__ cells,
         T* __restrict__ h, T* __restrict__ c, int steps, int H) {
    DYNAMIC_SHARED(float, shared);
    float *state = shared, *cell = state + H, *now = cell + H;
    const int n = threadIdx.x, unit = n % H;
    const long long row = blockIdx.x, length = lengths ? lengths[row] : steps;
    if (n < H) state[n] = to_float(h0[row * H + n]), cell[n] = to_float(c0[row * H + n]);
    for (int t = 0; t < steps; t++) {
        T* const gate = gates + (row * steps + t) * 4 * H;
        __syncthreads();  // the state is there
        if (n < 4 * H) {
            float sum = to_float(gate[n]);
            for (int j = 0; j < H; j++) sum += state[j] * to_float(w_hidden[j * 4 * H + n]);
            if (peepholes && n < 2 * H) sum += to_float(peepholes[n]) * cell[unit];
            now[n] = n < 2 * H ? sigmoid(sum) : n < 3 * H ? tanhf(sum) : sum;  // o waits for the new cell
            if (n < 3 * H) gate[n] = from_float<T>(now[n]);
        }
        __syncthreads();
        if (n < H) {
            const float fresh = now[H + n] * cell[n] + now[n] * now[2 * H + n];
            const float peep = peepholes ? to_float(peepholes[2 * H + n]) * fresh : 0.0f;
            const float o = sigmoid(now[3 * H + n] + peep), out = o * tanhf(fresh);
            if (t < length) state[n] = out, cell[n] = fresh;
            gate[3 * H + n] = from_float<T>(o);
            y[(row * steps + t) * H + n] = from_float<T>(t < length ? out : 0.0f);
            cells[(row * steps + t) * H + n] = from_float<T>(cell[n]);
        }
    }
    if (n < H) h[row * H + n] = from_float<T>(state[n]), c[row * H + n] = from_float<T>(cell[n]);
}

// Backwards through the steps: da, the gradient by the gates before their activations, and those by the first state.
// dy: (B, T, H); dh, dc: (B, H); gates, cells: of the forward; w_hidden: (4H, H); da: (B, T, 4H); dh0, dc0: (B, H).
extern "C" __global__ void __launch_bounds__(1024, 1)
    lstm_backward(const T* __restrict__ dy, const T* __restrict__ dh, const T* __restrict__ dc, const T* __restrict__ gates,
                  const T* __restrict__ cells, const T* __restrict__ c0, const T* __restrict__ w_hidden,
                  const long long* __restrict__ lengths, const T* __restrict__ peepholes, T* __restrict__ da,
                  T* __restrict__ dh0, T* __restrict__ dc0, int steps, int H) {
    DYNAMIC_SHARED(float, shared);
    float *slopes = shared, *parts = slopes + 4 * H;  // both (4, H)
    const int n = threadIdx.x, unit = n % H;
    const long long row = blockIdx.x, length = lengths ? lengths[row] : steps;
    float state = n < H ? to_float(dh[row * H + n]) : 0.0f, cell = n < H ? to_float(dc[row * H + n]) : 0.0f;
    for (int t = steps - 1; t >= 0; t--) {
        const long long at = row * steps + t;
        const bool live = t < length;
        if (n < H) {
            const T* const gate = gates + at * 4 * H;
            const float i = to_float(gate[n]), f = to_float(gate[H + n]), g = to_float(gate[2 * H + n]);
            const float o = to_float(gate[3 * H + n]), tanh_c = tanhf(to_float(cells[at * H + n]));
            const float before = to_float(t ? cells[(at - 1) * H + n] : c0[row * H + n]);
            const float by_h = state + to_float(dy[at * H + n]), d_o = by_h * tanh_c * o * (1.0f - o);
            float by_c = cell + by_h * o * (1.0f - tanh_c * tanh_c);
            if (peepholes) by_c += d_o * to_float(peepholes[2 * H + n]);
            const float d_i = by_c * g * i * (1.0f - i), d_f = by_c * before * f * (1.0f - f);
            slopes[n] = live ? d_i : 0.0f, slopes[H + n] = live ? d_f : 0.0f;
            slopes[2 * H + n] = live ? by_c * i * (1.0f - g * g) : 0.0f, slopes[3 * H + n] = live ? d_o : 0.0f;
            if (live) {
                cell = by_c * f;
                if (peepholes) cell += d_i * to_float(peepholes[n]) + d_f * to_float(peepholes[H + n]);
            }
        }
        __syncthreads();
        if (n < 4 * H) {  // a quarter of the rows of W_hidden for each unit
            da[at * 4 * H + n] = from_float<T>(slopes[n]);
            float sum = 0.0f;
            for (int k = n / H * H; k < (n / H + 1) * H; k++) sum += slopes[k] * to_float(w_hidden[k * H + unit]);
            parts[n] = sum;
        }
        __syncthreads();
        if (n < H && live) state = parts[n] + parts[H + n] + parts[2 * H + n] + parts[3 * H + n];
    }
    if (n < H) dh0[row * H + n] = from_float<T>(state), dc0[row * H + n] = from_float<T>(cell);
}
