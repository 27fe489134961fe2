#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/npy.h"
#include "models/random.h"
#include "stimulus/images.h"

#define assert_near(a, b, tolerance)                                                     \
    do {                                                                                 \
        double near_a = (double)(a), near_b = (double)(b);                               \
        if (!(fabs(near_a - near_b) <= (double)(tolerance)))                             \
            fail_msg("%s is %.9g, not %.9g", #a, near_a, near_b);                        \
    } while (0)

static uint64_t seed;
static char text[512];

static struct images *open_set(enum images_kind kind, int height, int width)
{
    struct images *images;
    assert_int_equal(images_open(&images, kind, NULL, height, width, text, sizeof text),
                     0);
    return images;
}

static void draw(const struct images *images, uint64_t of_seed, uint64_t i, float *x)
{
    void *work = malloc(images_work_size(images));
    images_get(images, of_seed, i, work, x);
    free(work);
}

/* Slope of log power over log frequency, 3 to 24 cycles an image of 64 x 64, of n images
 * under a Hann window, by plain sums. */
static double spectrum_slope(const struct images *images, int n)
{
    enum { N = 64 };
    static float x[N * N];
    static double re[N * N], im[N * N], power[25];
    double c[N], s[N], count[25] = {0};
    memset(power, 0, sizeof power);
    for (int k = 0; k < N; k++) {
        c[k] = cos(2 * M_PI * k / N);
        s[k] = sin(2 * M_PI * k / N);
    }
    for (int image = 0; image < n; image++) {
        draw(images, seed, (uint64_t)image, x);
        for (int row = 0; row < N; row++) { /* along rows, frequencies 0..24 */
            for (int u = 0; u < 25; u++) {
                double a = 0, b = 0;
                for (int col = 0; col < N; col++) {
                    double v = (double)x[row * N + col] * (1 - c[row]) * (1 - c[col]);
                    a += v * c[u * col % N];
                    b -= v * s[u * col % N];
                }
                re[row * N + u] = a;
                im[row * N + u] = b;
            }
        }
        for (int u = 0; u < 25; u++) {
            for (int v = 0; v < 25; v++) {
                double a = 0, b = 0, f = sqrt(u * u + v * v);
                int ring = (int)lrint(f);
                if (ring < 3 || ring > 24)
                    continue;
                for (int row = 0; row < N; row++) {
                    int k = v * row % N;
                    a += re[row * N + u] * c[k] + im[row * N + u] * s[k];
                    b += im[row * N + u] * c[k] - re[row * N + u] * s[k];
                }
                power[ring] += a * a + b * b;
                count[ring]++;
            }
        }
    }
    double sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (int ring = 3; ring < 25; ring++) {
        double fx = log(ring), fy = log(power[ring] / count[ring]);
        sx += fx, sy += fy, sxx += fx * fx, sxy += fx * fy;
    }
    return (22 * sxy - sx * sy) / (22 * sxx - sx * sx);
}

static void spectra_have_their_slopes(void **state)
{
    (void)state;
    /* Leaves: steeper than the -2 of leaves of all sizes, for the smallest has a radius of
     * a pixel and edges are smoothed. */
    const struct {
        enum images_kind kind;
        double slope, tolerance;
    } cases[] = {
        {IMAGES_NOISE, -2, 0.1}, {IMAGES_WHITE, 0, 0.1}, {IMAGES_LEAVES, -2.5, 0.25}};
    for (int k = 0; k < 3; k++) {
        struct images *images = open_set(cases[k].kind, 64, 64);
        double slope = spectrum_slope(images, 40);
        printf("kind %d: power falls as f^%.3f\n", cases[k].kind, slope);
        assert_near(slope, cases[k].slope, cases[k].tolerance);
        images_close(images);
    }
}

static double correlation(const float *a, const float *b, int n)
{
    double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        ma += (double)a[i] / n;
        mb += (double)b[i] / n;
    }
    for (int i = 0; i < n; i++) {
        double p = (double)a[i] - ma, q = (double)b[i] - mb;
        ab += p * q, aa += p * p, bb += q * q;
    }
    return ab / sqrt(aa * bb);
}

static void successive_images_do_not_correlate(void **state)
{
    (void)state;
    enum { N = 256, N_IMAGES = 2000 };
    static float x[2][N];
    for (int kind = IMAGES_NOISE; kind <= IMAGES_WHITE; kind++) {
        struct images *images = open_set((enum images_kind)kind, 16, 16);
        double sum = 0, sum2 = 0;
        draw(images, seed, 0, x[0]);
        for (int i = 1; i <= N_IMAGES; i++) {
            draw(images, seed, (uint64_t)i, x[i % 2]);
            double r = correlation(x[0], x[1], N);
            assert_true(fabs(r) < 0.97);
            sum += r;
            sum2 += r * r;
        }
        double z = sum / sqrt(sum2); /* standard errors of the mean correlation */
        assert_true(fabs(z) < 4.5);
        images_close(images);
    }
}

static void an_image_is_a_function_of_seed_and_number(void **state)
{
    (void)state;
    static float x[20 * 33 + 1], y[20 * 33 + 1], z[20 * 33];
    for (int kind = IMAGES_NOISE; kind <= IMAGES_WHITE; kind++) {
        struct images *a = open_set((enum images_kind)kind, 20, 33);
        struct images *b = open_set((enum images_kind)kind, 20, 33);
        x[660] = y[660] = 77;
        draw(a, 5, 9, z);
        draw(a, 5, 8, x);
        draw(b, 5, 8, y);
        assert_memory_equal(x, y, sizeof x);
        assert_true(x[660] == 77);
        assert_memory_not_equal(x, z, sizeof z);
        draw(a, 6, 8, z);
        assert_memory_not_equal(x, z, sizeof z);
        assert_true(images_hash(a) == images_hash(b));
        assert_true(images_n(a) == INT64_MAX);
        images_close(a);
        images_close(b);
    }
}

static void mixed_takes_leaves_and_noise_in_turn(void **state)
{
    (void)state;
    static float x[256], y[256];
    struct images *mixed = open_set(IMAGES_MIXED, 16, 16);
    struct images *kinds[2] = {open_set(IMAGES_LEAVES, 16, 16),
                               open_set(IMAGES_NOISE, 16, 16)};
    for (uint64_t i = 0; i < 6; i++) {
        draw(mixed, seed, i, x);
        draw(kinds[i % 2], seed, i, y);
        assert_memory_equal(x, y, sizeof x);
    }
    assert_true(images_hash(mixed) != images_hash(kinds[0]));
    images_close(mixed);
    images_close(kinds[0]);
    images_close(kinds[1]);
}

/* Leaves cover the whole picture, never lighter or darker than the leaves themselves, and
 * most pixels have exactly one leaf's grey. */
static void leaves_cover_every_pixel(void **state)
{
    (void)state;
    static float x[64 * 48];
    struct images *images = open_set(IMAGES_LEAVES, 48, 64);
    int n_equal = 0;
    for (uint64_t i = 0; i < 20; i++) {
        draw(images, seed, i, x);
        for (int k = 0; k < 64 * 48; k++) {
            assert_true(x[k] >= -1 && x[k] <= 1);
            assert_true(x[k] != 0);
            n_equal += k > 0 && x[k] == x[k - 1];
        }
    }
    assert_true(n_equal > 20 * 64 * 48 / 4);
    images_close(images);
}

static void any_size_is_made(void **state)
{
    (void)state;
    const int sizes[][2] = {{1, 1},  {1, 2},     {2, 1},  {3, 200},
                            {17, 5}, {100, 100}, {300, 1}};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int n = sizes[k][0] * sizes[k][1];
        float *x = malloc(((size_t)n + 1) * sizeof *x);
        for (int kind = IMAGES_NOISE; kind <= IMAGES_WHITE; kind++) {
            struct images *images =
                open_set((enum images_kind)kind, sizes[k][0], sizes[k][1]);
            x[n] = 77;
            draw(images, seed, k, x);
            assert_true(x[n] == 77);
            for (int i = 0; i < n; i++)
                assert_true(isfinite(x[i]));
            images_close(images);
        }
        free(x);
    }
}

/* --- a folder --- */

static char folder[] = "/tmp/evoke-images-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static void empty_folder(void)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2)
            remove(in_folder(entry->d_name));
    closedir(dir);
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    empty_folder();
    return rmdir(folder);
}

static uint8_t *put_u32(uint8_t *at, uint32_t v)
{
    for (int k = 0; k < 4; k++)
        *at++ = (uint8_t)(v >> (24 - 8 * k));
    return at;
}

static uint8_t *put_chunk(uint8_t *at, const char *type, const uint8_t *data, size_t n)
{
    at = put_u32(at, (uint32_t)n);
    uint8_t *begin = at;
    memcpy(at, type, 4);
    memcpy(at + 4, data, n);
    at += 4 + n;
    uint32_t crc = UINT32_MAX;
    for (uint8_t *p = begin; p < at; p++) {
        crc ^= *p;
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    return put_u32(at, ~crc);
}

/* A PNG with uncompressed lines; returns its size. extra: a chunk of a palette and its
 * transparency, or neither. */
static size_t make_png(uint8_t *png, int height, int width, int depth, int colour,
                       const uint8_t *lines, size_t line, const uint8_t *palette,
                       size_t n_palette, const uint8_t *alpha, size_t n_alpha)
{
    uint8_t head[13], data[4096], *at = png, *d = data;
    memcpy(at, "\x89PNG\r\n\x1a\n", 8);
    at += 8;
    put_u32(put_u32(head, (uint32_t)width), (uint32_t)height);
    head[8] = (uint8_t)depth;
    head[9] = (uint8_t)colour;
    memset(head + 10, 0, 3);
    at = put_chunk(at, "IHDR", head, sizeof head);
    if (palette)
        at = put_chunk(at, "PLTE", palette, n_palette);
    if (alpha)
        at = put_chunk(at, "tRNS", alpha, n_alpha);
    size_t n = (size_t)height * (line + 1);
    *d++ = 0x78, *d++ = 0x01, *d++ = 1;
    *d++ = (uint8_t)n, *d++ = (uint8_t)(n >> 8);
    *d++ = (uint8_t)~n, *d++ = (uint8_t)(~n >> 8);
    uint8_t *begin = d;
    for (int row = 0; row < height; row++) {
        *d++ = 0;
        memcpy(d, lines + (size_t)row * line, line);
        d += line;
    }
    uint32_t a = 1, b = 0;
    for (; begin < d; begin++) {
        a = (a + *begin) % 65521;
        b = (b + a) % 65521;
    }
    d = put_u32(d, b << 16 | a);
    at = put_chunk(at, "IDAT", data, (size_t)(d - data));
    return (size_t)(put_chunk(at, "IEND", head, 0) - png);
}

static int open_folder(struct images **images, int height, int width)
{
    memset(text, 0, sizeof text);
    return images_open(images, IMAGES_FOLDER, folder, height, width, text, sizeof text);
}

static void every_kind_of_png_gives_its_light(void **state)
{
    (void)state;
    static const uint8_t rgb[] = {255, 0, 0, 0, 255, 0};
    static const uint8_t rgba16[] = {255, 255, 255, 255, 255, 255, 128, 0,
                                     0,   0,   0,   0,   0,   0,   0,   0};
    static const uint8_t clear[] = {255, 51};
    const struct {
        int depth, colour;
        const uint8_t *line;
        size_t n_line;
        const uint8_t *palette, *alpha;
        double want[2];
    } cases[] = {
        {1, 0, (const uint8_t *)"\x40", 1, NULL, NULL, {0, 1}},
        {2, 0, (const uint8_t *)"\x60", 1, NULL, NULL, {1 / 3.0, 2 / 3.0}},
        {4, 0, (const uint8_t *)"\x3c", 1, NULL, NULL, {0.2, 0.8}},
        {8, 0, (const uint8_t *)"\x33\xcc", 2, NULL, NULL, {0.2, 0.8}},
        {16, 0, (const uint8_t *)"\x33\x33\xff\xff", 4, NULL, NULL, {0.2, 1}},
        {8, 2, rgb, 6, NULL, NULL, {0.2126, 0.7152}},
        {8, 4, (const uint8_t *)"\xff\x33\x00\xff", 4, NULL, NULL, {0.6, 0}},
        {16, 6, rgba16, 16, NULL, NULL, {0.5 + 0.5 * 32768 / 65535, 0.5}},
        {8, 3, (const uint8_t *)"\x01\x00", 2, rgb, NULL, {0.7152, 0.2126}},
        {1, 3, (const uint8_t *)"\x40", 1, rgb, clear, {0.2126, 0.2 * 0.7152 + 0.4}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        uint8_t png[8192];
        float x[2];
        struct images *images;
        size_t n = make_png(png, 1, 2, cases[k].depth, cases[k].colour, cases[k].line,
                            cases[k].n_line, cases[k].palette, 6, cases[k].alpha, 2);
        empty_folder();
        write_file("one.PNG", png, n);
        if (open_folder(&images, 1, 2) != 0)
            fail_msg("case %zu: %s", k, text);
        assert_true(images_n(images) == 1);
        draw(images, seed, 0, x);
        for (int i = 0; i < 2; i++)
            assert_near(x[i], cases[k].want[i], 1e-5);
        images_close(images);
    }
}

static void pictures_are_cut_and_averaged(void **state)
{
    (void)state;
    uint8_t lines[4 * 6], png[8192];
    float x[4];
    struct images *images;
    for (int i = 0; i < 24; i++) /* columns 0 and 5 are to be cut off */
        lines[i] = (uint8_t)(i % 6 == 0 || i % 6 == 5 ? 255 : 4 * i);
    empty_folder();
    write_file("a.png", png, make_png(png, 4, 6, 8, 0, lines, 6, NULL, 0, NULL, 0));
    assert_int_equal(open_folder(&images, 2, 2), 0);
    draw(images, seed, 0, x);
    assert_near(255 * (double)x[0], 4 * (1 + 2 + 7 + 8) / 4.0, 1e-3);
    assert_near(255 * (double)x[1], 4 * (3 + 4 + 9 + 10) / 4.0, 1e-3);
    assert_near(255 * (double)x[2], 4 * (13 + 14 + 19 + 20) / 4.0, 1e-3);
    assert_near(255 * (double)x[3], 4 * (15 + 16 + 21 + 22) / 4.0, 1e-3);
    images_close(images);

    /* 4 columns of 6 to 3: cells of four thirds of a pixel */
    assert_int_equal(open_folder(&images, 3, 3), 0);
    float y[9];
    draw(images, seed, 0, y);
    double row_0 = (1 + 2 / 3.0) / (4 / 3.0), row_1 = (7 + 8 / 3.0) / (4 / 3.0);
    assert_near(255 * (double)y[0], 4 * (row_0 + row_1 / 3) / (4 / 3.0), 1e-3);
    images_close(images);
}

static void npy_pictures_are_read_in_order_of_name(void **state)
{
    (void)state;
    const float frames[2][2][3] = {{{0, 1, 2}, {3, 4, 5}}, {{9, 8, 7}, {6, 5, 4}}};
    const uint8_t bytes[2][3] = {{10, 20, 30}, {40, 50, 60}};
    const size_t shape_3[] = {2, 2, 3}, shape_2[] = {2, 3};
    struct images *images;
    empty_folder();
    assert_int_equal(npy_write(in_folder("b.npy"), NPY_F4, 3, shape_3, frames), 0);
    assert_int_equal(npy_write(in_folder("a.npy"), NPY_U1, 2, shape_2, bytes), 0);
    write_file("notes.txt", "x", 1);
    write_file(".hidden.npy", "x", 1);
    assert_int_equal(open_folder(&images, 2, 3), 0);
    assert_true(images_n(images) == 3);
    uint64_t hash = images_hash(images);

    /* with replacement, all equally often */
    int n_seen[3] = {0};
    for (uint64_t i = 0; i < 3000; i++) {
        float x[6];
        draw(images, seed, i, x);
        int which = x[0] == 10 ? 0 : x[0] == 0 ? 1 : 2;
        for (int k = 0; k < 6; k++)
            assert_true(x[k] == (which == 0 ? (float)bytes[k / 3][k % 3]
                                            : frames[which - 1][k / 3][k % 3]));
        n_seen[which]++;
        struct random random;
        random_init(&random, seed, i);
        assert_int_equal(random_below(&random, 3), which);
    }
    for (int k = 0; k < 3; k++) /* mean 1000, sd 26 */
        assert_in_range(n_seen[k], 860, 1140);
    images_close(images);

    uint8_t other[2][3];
    memcpy(other, bytes, sizeof other);
    other[1][2]++;
    npy_write(in_folder("a.npy"), NPY_U1, 2, shape_2, other);
    assert_int_equal(open_folder(&images, 2, 3), 0);
    assert_true(images_hash(images) != hash);
    images_close(images);
    npy_write(in_folder("a.npy"), NPY_U1, 2, shape_2, bytes);
    assert_int_equal(open_folder(&images, 2, 3), 0);
    assert_true(images_hash(images) == hash);
    images_close(images);
}

static void refused(const char *name, const char *reason)
{
    struct images *images;
    assert_true(open_folder(&images, 2, 2) < 0);
    assert_null(images);
    if (!strstr(text, name) || !strstr(text, reason))
        fail_msg("\"%s\" names neither %s nor \"%s\"", text, name, reason);
}

static void bad_folders_and_files_are_refused_by_name(void **state)
{
    (void)state;
    struct images *images;
    assert_int_equal(
        images_open(&images, IMAGES_FOLDER, "/nowhere", 2, 2, text, sizeof text),
        -ENOENT);
    assert_non_null(strstr(text, "/nowhere"));
    empty_folder();
    refused(folder, "no .png or .npy");

    const float flat[4] = {3, 3, 3, 3}, bad[4] = {1, NAN, 2, 3}, one[4] = {1, 2, 3, 4};
    const size_t shape[] = {2, 2}, line[] = {4}, deep[] = {1, 1, 2, 2},
                 none[] = {0, 2, 2};
    const size_t wide[] = {1, 5000};
    static float zeros[5000];
    npy_write(in_folder("x.npy"), NPY_F4, 2, shape, flat);
    refused("x.npy", "flat");
    npy_write(in_folder("x.npy"), NPY_F4, 2, shape, bad);
    refused("x.npy", "finite");
    npy_write(in_folder("x.npy"), NPY_F4, 1, line, one);
    refused("x.npy", "shape");
    npy_write(in_folder("x.npy"), NPY_F4, 4, deep, one);
    refused("x.npy", "shape");
    npy_write(in_folder("x.npy"), NPY_F4, 0, NULL, one);
    refused("x.npy", "shape");
    npy_write(in_folder("x.npy"), NPY_F4, 3, none, one);
    refused("x.npy", "no picture");
    npy_write(in_folder("x.npy"), NPY_F4, 2, wide, zeros);
    refused("x.npy", "4096");
    write_file("x.npy", "no array", 8);
    refused("x.npy", "");
    empty_folder();
    write_file("y.png", "no picture", 10);
    refused("y.png", "libpng");
    write_file("y.png", "", 0);
    refused("y.png", "libpng");
    remove(in_folder("y.png"));
    mkdir(in_folder("z.png"), 0700);
    refused("z.png", "regular");
    rmdir(in_folder("z.png"));
    mkfifo(in_folder("z.npy"), 0600);
    refused("z.npy", "regular");
}

/* Each prefix and many damaged copies of a good PNG: a set or a reason, no crash. */
static void damaged_pngs_never_crash(void **state)
{
    (void)state;
    uint8_t lines[8 * 24], png[8192], bad[8192];
    struct random random;
    random_init(&random, seed, 1);
    for (size_t i = 0; i < sizeof lines; i++)
        lines[i] = (uint8_t)random_u64(&random);
    size_t n = make_png(png, 8, 8, 8, 2, lines, 24, NULL, 0, NULL, 0);
    empty_folder();
    for (size_t k = 0; k < n + 600; k++) {
        memcpy(bad, png, n);
        for (int j = 0; k >= n && j < 3; j++)
            bad[random_below(&random, (uint32_t)n)] ^=
                (uint8_t)(1 + random_below(&random, 255));
        write_file("a.png", bad, k < n ? k : n);
        struct images *images;
        int error = open_folder(&images, 4, 4);
        if (k < n - 12) /* the last chunk holds nothing */
            assert_int_equal(error, -EINVAL);
        assert_true(error == 0 ? images != NULL : text[0] != '\0');
        images_close(images);
    }
}

int main(void)
{
    const char *env = getenv("EVOKE_SEED");
    seed = env ? strtoull(env, NULL, 0) : 1;
    printf("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spectra_have_their_slopes),
        cmocka_unit_test(successive_images_do_not_correlate),
        cmocka_unit_test(an_image_is_a_function_of_seed_and_number),
        cmocka_unit_test(mixed_takes_leaves_and_noise_in_turn),
        cmocka_unit_test(leaves_cover_every_pixel),
        cmocka_unit_test(any_size_is_made),
        cmocka_unit_test(every_kind_of_png_gives_its_light),
        cmocka_unit_test(pictures_are_cut_and_averaged),
        cmocka_unit_test(npy_pictures_are_read_in_order_of_name),
        cmocka_unit_test(bad_folders_and_files_are_refused_by_name),
        cmocka_unit_test(damaged_pngs_never_crash),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
