// Batch normalisation, max-feature-map and 2x2 max pooling of a LightCNN, forwards and backwards: a walk over the maps
// for the sums over a batch, and one for everything else.
//
// Maps lie as torch's channels_last: image, row, column, channel. With C channels behind the maximum there are 2C in front
// of it: channel c competes with channel C + c. `Cell` is how activations are kept, float or bfloat16; all arithmetic
// is float. Sums go into a row for each image, so that the result does not depend on the number of threads.
//
// The vectors are GCC's: the compiler turns them into what the processor has.

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int LANES = 16;  // channels or pixels worked on at once
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

template <class Vector> inline Vector read(const void* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}
template <class Vector> inline void write(void* to, Vector vector) { std::memcpy(to, &vector, sizeof vector); }

inline Floats splat(float number) { return number - Floats{}; }
inline Floats load(const float* from) { return read<Floats>(from); }
inline void store(float* to, Floats numbers) { write(to, numbers); }

struct BFloat16 { uint16_t bits; };  // the upper half of a float
inline Floats load(const BFloat16* from) {
    return (Floats)(__builtin_convertvector(read<Halves>(from), Bits) << 16);
}
inline void store(BFloat16* to, Floats numbers) {
    Bits bits = (Bits)numbers;
    bits += 0x7fff + ((bits >> 16) & 1);  // to the nearest, ties to even
    write(to, __builtin_convertvector(bits >> 16, Halves));
}

// Whether a later value takes the maximum: not at a tie, and what is no number is never let go.
inline Ints beats(Floats value, Floats best) { return ~(value <= best) & (best == best); }

inline Ints load_winners(const uint8_t* from) { return __builtin_convertvector(read<Bytes>(from), Ints); }
inline void add_to(double* sums, Floats numbers) {
    for (int lane = 0; lane < LANES; lane++) sums[lane] += numbers[lane];
}

// Where the maximum is taken from: 2x2 positions or one, times two halves. A winner's number is 2 * position + half.
struct Maps {
    int64_t images, height, width, channels;  // of what comes out: pooled, behind the maximum
    int64_t side;                             // 2 with pooling, else 1

    int64_t in_width() const { return width * side; }
    int64_t in_channels() const { return 2 * channels; }
    int64_t in_position(int64_t image, int64_t row, int64_t column) const {
        return ((image * height + row) * side * in_width() + column * side) * in_channels();
    }
    int64_t in_offset(int64_t position) const { return ((position >> 1) * in_width() + (position & 1)) * in_channels(); }
    int64_t out_position(int64_t image, int64_t row, int64_t column) const {
        return ((image * height + row) * width + column) * channels;
    }
};

// sums (images, 2, channels): of x - shift and of its square.
template <class Cell>
void add_up(const Cell* x, int64_t images, int64_t positions, int64_t channels, const float* shift, double* sums,
            int threads) {
    constexpr int64_t AT_ONCE = 64;  // positions: they stay in the cache while the channels are gone through
#pragma omp parallel for num_threads(threads)
    for (int64_t image = 0; image < images; image++) {
        double* sum = sums + image * 2 * channels;
        for (int64_t begin = 0; begin < positions; begin += AT_ONCE) {
            const int64_t end = begin + AT_ONCE < positions ? begin + AT_ONCE : positions;
            for (int64_t channel = 0; channel < channels; channel += LANES) {
                const Floats middle = load(shift + channel);
                Floats total = {}, squares = {};
                const Cell* cell = x + (image * positions + begin) * channels + channel;
                for (int64_t i = begin; i < end; i++, cell += channels) {
                    const Floats value = load(cell) - middle;
                    total += value;
                    squares += value * value;
                }
                add_to(sum + channel, total);
                add_to(sum + channels + channel, squares);
            }
        }
    }
}

// y = the largest of x * gain + offset, and who that was.
template <class Cell>
void join(const Cell* x, const float* gain, const float* offset, Maps maps, Cell* y, uint8_t* winners, int threads) {
    const int64_t channels = maps.channels, positions = maps.side * maps.side;
#pragma omp parallel for num_threads(threads)
    for (int64_t image = 0; image < maps.images; image++)
        for (int64_t row = 0; row < maps.height; row++)
            for (int64_t channel = 0; channel < channels; channel += LANES) {
                const Floats gains[2] = {load(gain + channel), load(gain + channels + channel)};
                const Floats offsets[2] = {load(offset + channel), load(offset + channels + channel)};
                for (int64_t column = 0; column < maps.width; column++) {
                    const Cell* cell = x + maps.in_position(image, row, column) + channel;
                    Floats best = load(cell) * gains[0] + offsets[0];
                    Ints winner = {};
                    for (int64_t position = 0; position < positions; position++)
                        for (int half = 0; half < 2; half++) {
                            const Floats value =
                                load(cell + maps.in_offset(position) + half * channels) * gains[half] + offsets[half];
                            const Ints wins = beats(value, best);
                            best = wins ? value : best;
                            winner = wins ? Ints{} + (int32_t)(2 * position + half) : winner;
                        }
                    const int64_t out = maps.out_position(image, row, column) + channel;
                    store(y + out, best);
                    write(winners + out, __builtin_convertvector(winner, Bytes));
                }
            }
}

// sums (images, 2, 2 * channels): at each place that won, of the gradient and of gradient * x.
template <class Cell>
void add_up_gradients(const Cell* gradient, const uint8_t* winners, const Cell* x, Maps maps, double* sums,
                      int threads) {
    const int64_t channels = maps.channels, positions = maps.side * maps.side;
#pragma omp parallel for num_threads(threads)
    for (int64_t image = 0; image < maps.images; image++) {
        double* sum = sums + image * 4 * channels;
        for (int64_t row = 0; row < maps.height; row++)
            for (int64_t channel = 0; channel < channels; channel += LANES) {
                Floats totals[2] = {}, products[2] = {};
                for (int64_t column = 0; column < maps.width; column++) {
                    const int64_t out = maps.out_position(image, row, column) + channel;
                    const Floats slope = load(gradient + out);
                    const Ints winner = load_winners(winners + out);
                    const Cell* cell = x + maps.in_position(image, row, column) + channel;
                    for (int half = 0; half < 2; half++) {
                        totals[half] += (winner & 1) == half ? slope : Floats{};
                        for (int64_t position = 0; position < positions; position++) {
                            const Floats value = load(cell + maps.in_offset(position) + half * channels);
                            products[half] += winner == (int32_t)(2 * position + half) ? slope * value : Floats{};
                        }
                    }
                }
                for (int half = 0; half < 2; half++) {
                    add_to(sum + half * channels + channel, totals[half]);
                    add_to(sum + (2 + half) * channels + channel, products[half]);
                }
            }
    }
}

// dx = slope * (the gradient, where x won) + tilt * x + level, each by channel.
template <class Cell>
void spread(const Cell* gradient, const uint8_t* winners, const Cell* x, const float* slope, const float* tilt,
            const float* level, Maps maps, Cell* dx, int threads) {
    const int64_t channels = maps.channels, positions = maps.side * maps.side;
#pragma omp parallel for num_threads(threads)
    for (int64_t image = 0; image < maps.images; image++)
        for (int64_t row = 0; row < maps.height; row++)
            for (int64_t channel = 0; channel < channels; channel += LANES) {
                Floats slopes[2], tilts[2], levels[2];
                for (int half = 0; half < 2; half++) {
                    slopes[half] = load(slope + half * channels + channel);
                    tilts[half] = load(tilt + half * channels + channel);
                    levels[half] = load(level + half * channels + channel);
                }
                for (int64_t column = 0; column < maps.width; column++) {
                    const int64_t out = maps.out_position(image, row, column) + channel;
                    const Floats upper = load(gradient + out);
                    const Ints winner = load_winners(winners + out);
                    for (int half = 0; half < 2; half++) {
                        const Floats share = upper * slopes[half];
                        for (int64_t position = 0; position < positions; position++) {
                            const int64_t in = maps.in_position(image, row, column) + channel +
                                               maps.in_offset(position) + half * channels;
                            const Floats rest = load(x + in) * tilts[half] + levels[half];
                            const Ints won = winner == (int32_t)(2 * position + half);
                            store(dx + in, won ? rest + share : rest);
                        }
                    }
                }
            }
}

// The first layer: 5x5 filters on one channel. Its maps are the largest of the network and its filters the cheapest, so
// that nothing of it is stored: what batch normalisation needs of them follows from sums over the pixels.
constexpr int SIZE = 5, TAPS = SIZE * SIZE, FIRST = 48, MARGIN = SIZE / 2;

struct Padded {  // an image with a margin of zeros, and some more to the right that vectors may read
    int64_t height, width, stride;
    std::vector<float> pixels;

    Padded(int64_t height, int64_t width)
        : height(height), width(width), stride(width + 2 * MARGIN + LANES),
          pixels((height + 2 * MARGIN + 1) * stride, 0.f) {}
    void fill(const float* image) {
        for (int64_t row = 0; row < height; row++)
            std::memcpy(&pixels[(row + MARGIN) * stride + MARGIN], image + row * width, width * sizeof(float));
    }
    const float* at(int64_t row, int64_t column) const { return &pixels[row * stride + column]; }  // of the patch there
    const float* tap(int number) const { return at(number / SIZE, number % SIZE); }
};

// sums (images, TAPS, TAPS + 1): of the products of two taps over all patches, and of each tap.
void correlate(const float* images, int64_t count, int64_t height, int64_t width, double* sums, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t image = 0; image < count; image++) {
        Padded padded(height, width);
        padded.fill(images + image * height * width);
        double* sum = sums + image * TAPS * (TAPS + 1);
        for (int a = 0; a < TAPS; a++)
            for (int b = a; b <= TAPS; b++) {
                const float *first = padded.tap(a), *second = padded.tap(b < TAPS ? b : 0);
                Floats total = {};
                for (int64_t row = 0; row < height; row++, first += padded.stride, second += padded.stride)
                    for (int64_t column = 0; column < width; column += LANES)
                        total += load(first + column) * (b < TAPS ? load(second + column) : splat(1));
                double number = 0;
                for (int lane = 0; lane < LANES; lane++) number += total[lane];
                sum[a * (TAPS + 1) + b] = number;
                if (b < TAPS) sum[b * (TAPS + 1) + a] = number;
            }
    }
}

// As `join`, of the filters' answers; filters (TAPS, 2 * FIRST) contain the gain.
template <class Cell>
void join_first(const float* images, const float* filters, const float* offset, Maps maps, Cell* y, uint8_t* winners,
                int threads) {
    constexpr int PARTS = 2 * FIRST / LANES, HALF = FIRST / LANES;
    const int64_t height = 2 * maps.height, width = 2 * maps.width;
#pragma omp parallel for num_threads(threads)
    for (int64_t image = 0; image < maps.images; image++) {
        Padded padded(height, width);
        padded.fill(images + image * height * width);
        for (int64_t row = 0; row < maps.height; row++)
            for (int64_t column = 0; column < maps.width; column++) {
                Floats answers[4][PARTS];
                for (int position = 0; position < 4; position++)
                    for (int part = 0; part < PARTS; part++) answers[position][part] = load(offset + part * LANES);
                for (int tap = 0; tap < TAPS; tap++) {
                    const float* pixel = padded.at(2 * row + tap / SIZE, 2 * column + tap % SIZE);
                    const Floats light[4] = {splat(pixel[0]), splat(pixel[1]), splat(pixel[padded.stride]),
                                             splat(pixel[padded.stride + 1])};
#pragma GCC unroll 6
                    for (int part = 0; part < PARTS; part++) {
                        const Floats filter = load(filters + tap * 2 * FIRST + part * LANES);
#pragma GCC unroll 4
                        for (int position = 0; position < 4; position++)
                            answers[position][part] += light[position] * filter;
                    }
                }
                const int64_t out = maps.out_position(image, row, column);
#pragma GCC unroll 3
                for (int part = 0; part < HALF; part++) {
                    Floats best = answers[0][part];
                    Ints winner = {};
#pragma GCC unroll 8
                    for (int number = 1; number < 8; number++) {
                        const Floats value = answers[number / 2][part + number % 2 * HALF];
                        const Ints wins = beats(value, best);
                        best = wins ? value : best;
                        winner = wins ? Ints{} + number : winner;
                    }
                    store(y + out + part * LANES, best);
                    write(winners + out + part * LANES, __builtin_convertvector(winner, Bytes));
                }
            }
    }
}

// sums (images, TAPS + 1, 2 * FIRST): at each place that won, of gradient * tap, and of the gradient.
template <class Cell>
void add_up_first(const Cell* gradient, const uint8_t* winners, const float* images, Maps maps, double* sums,
                  int threads) {
    const int64_t height = 2 * maps.height, width = 2 * maps.width;
#pragma omp parallel for num_threads(threads)
    for (int64_t image = 0; image < maps.images; image++) {
        Padded padded(height, width);
        padded.fill(images + image * height * width);
        for (int64_t channel = 0; channel < FIRST; channel += LANES) {
            Floats totals[TAPS + 1][2] = {};
            for (int64_t row = 0; row < maps.height; row++)
                for (int64_t column = 0; column < maps.width; column++) {
                    const int64_t out = maps.out_position(image, row, column) + channel;
                    const Floats slope = load(gradient + out);
                    const Ints winner = load_winners(winners + out);
                    const Floats odd = (winner & 1) == 1 ? slope : Floats{}, even = slope - odd;
                    // Two rows of eight pixels make a vector; each channel takes the pixel where its winner lies.
                    const Ints lane = (winner >> 2) * 8 + ((winner >> 1) & 1);
                    const float* corner = padded.at(2 * row, 2 * column);
                    totals[TAPS][0] += even;
                    totals[TAPS][1] += odd;
#pragma GCC unroll 5
                    for (int y = 0; y < SIZE; y++) {
                        Floats pixels;
                        std::memcpy(&pixels, corner + y * padded.stride, 32);
                        std::memcpy((char*)&pixels + 32, corner + (y + 1) * padded.stride, 32);
#pragma GCC unroll 5
                        for (int x = 0; x < SIZE; x++) {
                            const Floats light = __builtin_shuffle(pixels, lane + x);
                            totals[y * SIZE + x][0] += light * even;
                            totals[y * SIZE + x][1] += light * odd;
                        }
                    }
                }
            for (int tap = 0; tap <= TAPS; tap++)
                for (int half = 0; half < 2; half++)
                    add_to(sums + ((image * (TAPS + 1) + tap) * 2 + half) * FIRST + channel, totals[tap][half]);
        }
    }
}

}  // namespace

// What Python calls, once for each kind of cell.
#define MAPS Maps{images, height, width, channels, side}
#define MAP_SIZES int64_t images, int64_t height, int64_t width, int64_t channels, int64_t side
#define FOR_CELL(Cell, name)                                                                                          \
    void add_up_##name(const Cell* x, int64_t images, int64_t positions, int64_t channels, const float* shift,        \
                       double* sums, int threads) {                                                                   \
        add_up(x, images, positions, channels, shift, sums, threads);                                                 \
    }                                                                                                                 \
    void join_##name(const Cell* x, const float* gain, const float* offset, MAP_SIZES, Cell* y, uint8_t* winners,     \
                     int threads) {                                                                                   \
        join(x, gain, offset, MAPS, y, winners, threads);                                                             \
    }                                                                                                                 \
    void add_up_gradients_##name(const Cell* gradient, const uint8_t* winners, const Cell* x, MAP_SIZES,              \
                                 double* sums, int threads) {                                                         \
        add_up_gradients(gradient, winners, x, MAPS, sums, threads);                                                  \
    }                                                                                                                 \
    void spread_##name(const Cell* gradient, const uint8_t* winners, const Cell* x, const float* slope,               \
                       const float* tilt, const float* level, MAP_SIZES, Cell* dx, int threads) {                     \
        spread(gradient, winners, x, slope, tilt, level, MAPS, dx, threads);                                          \
    }                                                                                                                 \
    void join_first_##name(const float* pixels, const float* filters, const float* offset, MAP_SIZES, Cell* y,        \
                           uint8_t* winners, int threads) {                                                           \
        join_first(pixels, filters, offset, MAPS, y, winners, threads);                                               \
    }                                                                                                                 \
    void add_up_first_##name(const Cell* gradient, const uint8_t* winners, const float* pixels, MAP_SIZES,            \
                             double* sums, int threads) {                                                             \
        add_up_first(gradient, winners, pixels, MAPS, sums, threads);                                                 \
    }

extern "C" {
FOR_CELL(float, fp32)
FOR_CELL(BFloat16, bf16)
void correlate_taps(const float* images, int64_t count, int64_t height, int64_t width, double* sums, int threads) {
    correlate(images, count, height, width, sums, threads);
}
}
