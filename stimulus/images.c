#include "stimulus/images.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "models/npy.h"
#include "models/random.h"
#include "protocol/log.h"
#include "protocol/wire.h"

#define IMAGES_SIDE_MAX  4096         /* of a picture in a folder */
#define IMAGES_BYTES_MAX (1ull << 30) /* of a folder, once reduced */

struct images {
    enum images_kind kind;
    int height, width;
    int64_t n;       /* pictures of a folder */
    float *pictures; /* (n, height, width) */
    uint64_t hash;
    int side;     /* of the square on which noise is made: a power of two */
    float *turns; /* (side / 2, 2) cosine and sine of 2 pi k / side */
};

/* --- 1/f noise: random coefficients of amplitude 1/f, one Fourier transform --- */

/* In-place transform of n complex numbers (re, im), n a power of two <= images->side
 * (radix 2, Cooley & Tukey 1965). */
static void fourier(const struct images *images, float *z, int n)
{
    for (int i = 1, j = 0; i < n; i++) {
        int bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            float re = z[2 * i], im = z[2 * i + 1];
            z[2 * i] = z[2 * j], z[2 * i + 1] = z[2 * j + 1];
            z[2 * j] = re, z[2 * j + 1] = im;
        }
    }
    for (int half = 1; half < n; half *= 2) {
        int turn = images->side / (2 * half);
        for (int start = 0; start < n; start += 2 * half) {
            for (int k = 0; k < half; k++) {
                const float *w = images->turns + 2 * k * turn;
                float *a = z + 2 * (start + k), *b = a + 2 * half;
                float re = w[0] * b[0] - w[1] * b[1], im = w[0] * b[1] + w[1] * b[0];
                b[0] = a[0] - re, b[1] = a[1] - im;
                a[0] += re, a[1] += im;
            }
        }
    }
}

/* A symmetric random number; sums of many are normal whatever its own law. */
static float coefficient(struct random *random)
{
    uint64_t bits = random_u64(random);
    return (float)((double)(bits >> 32) - (double)(bits & UINT32_MAX)) * 0x1p-32f;
}

/* The square is half as large again as the image at least, and the image is cut out of
 * it: what is left does not join up at opposite edges as a periodic field does. Real
 * parts of a field of independent coefficients have the coefficients' spectrum. */
static void draw_noise(const struct images *images, struct random *random, float *work,
                       float *x)
{
    int side = images->side;
    float *column = work + 2 * (size_t)side * (size_t)side;
    for (int v = 0; v < side; v++) {
        float *row = work + 2 * (size_t)v * (size_t)side;
        float fv = (float)(v <= side / 2 ? v : v - side);
        for (int u = 0; u < side; u++) {
            float fu = (float)(u <= side / 2 ? u : u - side);
            float f2 = fu * fu + fv * fv, amplitude = f2 > 0 ? 1.0f / sqrtf(f2) : 0.0f;
            row[2 * u] = amplitude * coefficient(random);
            row[2 * u + 1] = amplitude * coefficient(random);
        }
        fourier(images, row, side);
    }
    for (int u = 0; u < images->width; u++) {
        for (int v = 0; v < side; v++)
            memcpy(column + 2 * v, work + 2 * ((size_t)v * (size_t)side + (size_t)u),
                   2 * sizeof(float));
        fourier(images, column, side);
        for (int v = 0; v < images->height; v++)
            x[v * images->width + u] = column[2 * v];
    }
}

/* --- dead leaves, from the front to the back, so that each pixel is drawn until it is
 * covered and the picture has exactly the law of infinitely many leaves (Kendall &
 * Thonnes 1999) --- */

#define LEAF_RADIUS_MIN 1.0          /* pixels */
#define LEAF_OPEN_MIN   (1.0f / 256) /* of a pixel that still needs leaves */

struct leaf {
    double row, col, radius, grey;
};

static int draw_leaf(const struct images *images, double radius_max,
                     struct random *random, struct leaf *leaf)
{
    double ratio = LEAF_RADIUS_MIN / radius_max;
    leaf->radius =
        LEAF_RADIUS_MIN / sqrt(1 - random_uniform(random) * (1 - ratio * ratio));
    leaf->row = random_uniform(random) * (images->height + 2 * radius_max) - radius_max;
    leaf->col = random_uniform(random) * (images->width + 2 * radius_max) - radius_max;
    leaf->grey = 2 * random_uniform(random) - 1;
    double reach = leaf->radius + 1;
    return leaf->row > -reach && leaf->row < images->height + reach &&
           leaf->col > -reach && leaf->col < images->width + reach;
}

/* Lay it behind what is there; a pixel at its edge is covered in part. Returns how many
 * pixels it closed. */
static int lay_leaf(const struct images *images, const struct leaf *leaf, float *open,
                    float *x)
{
    double reach = leaf->radius + 0.5;
    int row_0 = (int)fmax(ceil(leaf->row - reach), 0), n_closed = 0;
    int row_1 = (int)fmin(floor(leaf->row + reach), images->height - 1);
    int col_0 = (int)fmax(ceil(leaf->col - reach), 0);
    int col_1 = (int)fmin(floor(leaf->col + reach), images->width - 1);
    for (int row = row_0; row <= row_1; row++) {
        for (int col = col_0; col <= col_1; col++) {
            int i = row * images->width + col;
            double dr = row - leaf->row, dc = col - leaf->col;
            double cover = reach - sqrt(dr * dr + dc * dc);
            if (cover <= 0 || open[i] == 0.0f)
                continue;
            float part = cover < 1 ? open[i] * (float)cover : open[i];
            x[i] += part * (float)leaf->grey;
            open[i] -= part;
            if (open[i] <= LEAF_OPEN_MIN) {
                open[i] = 0;
                n_closed++;
            }
        }
    }
    return n_closed;
}

static void draw_leaves(const struct images *images, struct random *random, float *open,
                        float *x)
{
    int n = images->height * images->width;
    int longer = images->height > images->width ? images->height : images->width;
    double radius_max = fmax(longer / 2.0, LEAF_RADIUS_MIN);
    /* Far more leaves than any picture needs: a bound on the work, not on the law. */
    double n_max =
        32 * (images->height + 2 * radius_max) * (images->width + 2 * radius_max);
    for (int i = 0; i < n; i++) {
        x[i] = 0;
        open[i] = 1;
    }
    struct leaf leaf;
    for (double k = 0; k < n_max && n > 0; k++) {
        if (draw_leaf(images, radius_max, random, &leaf))
            n -= lay_leaf(images, &leaf, open, x);
    }
}

/* --- pictures of a folder --- */

/* Average of source (rows, cols) over the largest centred box with the aspect ratio of
 * the set, cell by cell. */
static void reduce(const struct images *images, const float *source, int rows, int cols,
                   float *x)
{
    double box_h = rows, box_w = cols;
    if (box_w * images->height > box_h * images->width)
        box_w = box_h * images->width / images->height;
    else
        box_h = box_w * images->height / images->width;
    double cell_h = box_h / images->height, cell_w = box_w / images->width;
    for (int r = 0; r < images->height; r++) {
        double top = (rows - box_h) / 2 + r * cell_h, bottom = top + cell_h;
        for (int c = 0; c < images->width; c++) {
            double left = (cols - box_w) / 2 + c * cell_w, right = left + cell_w;
            double sum = 0, area = 0;
            for (int y = (int)fmax(top, 0); y < rows && y < bottom; y++) {
                double h = fmin(bottom, y + 1) - fmax(top, y);
                for (int z = (int)fmax(left, 0); z < cols && z < right; z++) {
                    double w = fmin(right, z + 1) - fmax(left, z);
                    sum += h * w * (double)source[(size_t)y * (size_t)cols + (size_t)z];
                    area += h * w;
                }
            }
            x[r * images->width + c] = (float)(sum / area);
        }
    }
}

/* NULL, or why it cannot be one of the set. */
static const char *add_picture(struct images *images, const float *source, int rows,
                               int cols)
{
    size_t n_px = (size_t)images->height * (size_t)images->width;
    size_t size = ((size_t)images->n + 1) * n_px * sizeof(float);
    if (size > IMAGES_BYTES_MAX)
        return "the pictures would need more than 1 GiB; leave some out";
    if (((images->n + 1) & images->n) == 0) { /* full at 2^k - 1: double the room */
        float *more =
            realloc(images->pictures, (2 * (size_t)images->n + 1) * n_px * sizeof *more);
        if (!more)
            return strerror(ENOMEM);
        images->pictures = more;
    }
    float *x = images->pictures + (size_t)images->n * n_px;
    reduce(images, source, rows, cols, x);
    float min = x[0], max = x[0];
    for (size_t i = 0; i < n_px; i++) {
        if (!isfinite(x[i]))
            return "it holds a number that is not finite";
        min = fminf(min, x[i]);
        max = fmaxf(max, x[i]);
    }
    if (max - min <= 1e-5f * fmaxf(fabsf(min), fabsf(max)))
        return "it is one flat grey";
    images->n++;
    return NULL;
}

static const char *add_npy(struct images *images, const char *path)
{
    struct npy npy;
    const char *why = npy_open(&npy, path);
    if (why)
        return why;
    const size_t *shape = npy.shape + npy.n_dims - 2;
    if (npy.n_dims != 2 && npy.n_dims != 3)
        why = "its shape is neither (N, height, width) nor (height, width)";
    else if (npy.type != NPY_U1 && npy.type != NPY_F4)
        why = "its numbers are neither u1 nor f4";
    else if (npy.n == 0)
        why = "it holds no picture";
    else if (shape[0] > IMAGES_SIDE_MAX || shape[1] > IMAGES_SIDE_MAX)
        why = "it has more than 4096 pixels a side";
    float *source = why ? NULL : malloc(shape[0] * shape[1] * sizeof *source);
    if (!why && !source)
        why = strerror(ENOMEM);
    for (size_t first = 0; !why && first < npy.n; first += shape[0] * shape[1]) {
        npy_floats(&npy, first, shape[0] * shape[1], source);
        why = add_picture(images, source, (int)shape[0], (int)shape[1]);
    }
    free(source);
    npy_close(&npy);
    return why;
}

/* What libpng needs while it reads; all here, so that its jump back loses nothing. */
struct png_file {
    FILE *file;
    png_structp png;
    png_infop info;
    png_bytep pixels; /* (rows, cols, 4) of 16 bits, most significant byte first */
    png_bytepp lines; /* (rows) into pixels */
    float *source;    /* (rows, cols) */
    int rows, cols;
    char why[128];
};

static void png_failed(png_structp png, png_const_charp why)
{
    struct png_file *f = png_get_error_ptr(png);
    snprintf(f->why, sizeof f->why, "libpng says: %s", why);
    png_longjmp(png, 1);
}

static void png_warned(png_structp png, png_const_charp why)
{
    (void)png;
    (void)why;
}

/* Any colour type and depth becomes red, green, blue, alpha of 16 bits. */
static void png_read_all(struct png_file *f)
{
    png_init_io(f->png, f->file);
    png_set_user_limits(f->png, IMAGES_SIDE_MAX, IMAGES_SIDE_MAX);
    png_read_info(f->png, f->info);
    f->rows = (int)png_get_image_height(f->png, f->info);
    f->cols = (int)png_get_image_width(f->png, f->info);
    png_set_expand_16(f->png); /* palettes, low depths and transparency too */
    png_set_gray_to_rgb(f->png);
    png_set_add_alpha(f->png, 0xffff, PNG_FILLER_AFTER);
    png_set_interlace_handling(f->png);
    png_read_update_info(f->png, f->info);
    size_t line = (size_t)f->cols * 8;
    if (png_get_rowbytes(f->png, f->info) != line)
        png_error(f->png, "unexpected size of a line");
    f->pixels = calloc((size_t)f->rows, line);
    f->lines = calloc((size_t)f->rows, sizeof *f->lines);
    f->source = calloc((size_t)f->rows * (size_t)f->cols, sizeof *f->source);
    if (!f->pixels || !f->lines || !f->source)
        png_error(f->png, "out of memory");
    for (int row = 0; row < f->rows; row++)
        f->lines[row] = f->pixels + (size_t)row * line;
    png_read_image(f->png, f->lines);
    png_read_end(f->png, NULL);
}

static int png_read(struct png_file *f)
{
    if (setjmp(png_jmpbuf(f->png)))
        return -EINVAL;
    png_read_all(f);
    return 0;
}

static float png_value(const unsigned char *at)
{
    return (float)(at[0] << 8 | at[1]) / 65535.0f;
}

static const char *add_png(struct images *images, const char *path, char *text,
                           size_t size)
{
    struct png_file f = {.file = fopen(path, "rb")};
    if (!f.file)
        return strerror(errno);
    f.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &f, png_failed, png_warned);
    f.info = f.png ? png_create_info_struct(f.png) : NULL;
    const char *why = f.info ? NULL : strerror(ENOMEM);
    if (!why && png_read(&f) != 0) {
        snprintf(text, size, "%s", f.why);
        why = text;
    }
    if (!why) {
        size_t n = (size_t)f.rows * (size_t)f.cols;
        for (size_t i = 0; i < n; i++) {
            const unsigned char *p = f.pixels + 8 * i;
            /* Luminance of linear Rec. 709 colours, on neutral grey where transparent. */
            float luminance = 0.2126f * png_value(p) + 0.7152f * png_value(p + 2) +
                              0.0722f * png_value(p + 4);
            float alpha = png_value(p + 6);
            f.source[i] = alpha * luminance + (1 - alpha) * 0.5f;
        }
        why = add_picture(images, f.source, f.rows, f.cols);
    }
    png_destroy_read_struct(&f.png, &f.info, NULL);
    free(f.source);
    free(f.lines);
    free(f.pixels);
    fclose(f.file);
    return why;
}

static int ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcasecmp(name + n - m, end) == 0;
}

static int is_picture(const struct dirent *entry)
{
    return entry->d_name[0] != '.' &&
           (ends_with(entry->d_name, ".png") || ends_with(entry->d_name, ".npy"));
}

/* By bytes, not by locale: the order is part of the set. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_file(struct images *images, const char *folder, const char *name,
                    char *text, size_t text_size)
{
    char path[4096], reason[160];
    struct stat status;
    const char *why = NULL;
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof path)
        why = strerror(ENAMETOOLONG);
    else if (stat(path, &status) != 0)
        why = strerror(errno);
    else if (!S_ISREG(status.st_mode))
        why = "it is no regular file";
    else if (ends_with(name, ".png"))
        why = add_png(images, path, reason, sizeof reason);
    else
        why = add_npy(images, path);
    if (why)
        snprintf(text, text_size, "picture %s/%s: %s", folder, name, why);
    return why ? -EINVAL : 0;
}

static int add_folder(struct images *images, const char *path, char *text,
                      size_t text_size)
{
    struct dirent **entries;
    int n = scandir(path, &entries, is_picture, by_name), error = 0;
    if (n < 0) {
        error = -errno;
        snprintf(text, text_size, "folder of pictures %s: %s", path, strerror(errno));
        return error;
    }
    for (int i = 0; i < n; i++) {
        if (!error)
            error = add_file(images, path, entries[i]->d_name, text, text_size);
        free(entries[i]);
    }
    free(entries);
    if (!error && images->n == 0) {
        error = -ENOENT;
        snprintf(text, text_size, "folder of pictures %s: no .png or .npy in it", path);
    }
    return error;
}

/* --- the set --- */

static uint64_t hash_set(const struct images *images)
{
    uint32_t head[3] = {(uint32_t)images->kind, (uint32_t)images->height,
                        (uint32_t)images->width};
    size_t n = (size_t)images->n * (size_t)images->height * (size_t)images->width;
    uint64_t hash = wire_hash(WIRE_HASH_START, head, sizeof head);
    return wire_hash(hash, images->pictures, n * sizeof(float));
}

static int open_noise(struct images *images)
{
    int longer = images->height > images->width ? images->height : images->width;
    images->side = 2;
    while (images->side < longer + longer / 2)
        images->side *= 2;
    images->turns = calloc((size_t)images->side, sizeof *images->turns);
    if (!images->turns)
        return -ENOMEM;
    for (int k = 0; k < images->side / 2; k++) {
        images->turns[2 * k] = (float)cos(2 * M_PI * k / images->side);
        images->turns[2 * k + 1] = (float)sin(2 * M_PI * k / images->side);
    }
    return 0;
}

int images_open(struct images **images, enum images_kind kind, const char *path,
                int height, int width, char *text, size_t text_size)
{
    CHECK(height > 0 && width > 0 && kind >= IMAGES_NOISE && kind <= IMAGES_FOLDER);
    CHECK((kind == IMAGES_FOLDER) == (path != NULL));
    struct images *set = calloc(1, sizeof *set);
    int error = set ? 0 : -ENOMEM;
    if (!error) {
        set->kind = kind;
        set->height = height;
        set->width = width;
        error = kind == IMAGES_FOLDER ? add_folder(set, path, text, text_size)
                                      : open_noise(set);
    }
    if (error == -ENOMEM)
        snprintf(text, text_size, "images: %s", strerror(ENOMEM));
    if (error) {
        images_close(set);
        set = NULL;
    } else {
        set->hash = hash_set(set);
    }
    *images = set;
    return error;
}

void images_close(struct images *images)
{
    if (!images)
        return;
    free(images->turns);
    free(images->pictures);
    free(images);
}

int64_t images_n(const struct images *images)
{
    return images->kind == IMAGES_FOLDER ? images->n : INT64_MAX;
}

size_t images_work_size(const struct images *images)
{
    size_t n = (size_t)images->height * (size_t)images->width,
           side = (size_t)images->side;
    size_t noise = 2 * (side * side + side);
    return (noise > n ? noise : n) * sizeof(float);
}

void images_get(const struct images *images, uint64_t seed, uint64_t i, void *work,
                float *x)
{
    int n = images->height * images->width;
    struct random random;
    random_init(&random, seed, i);
    switch (images->kind) {
    case IMAGES_NOISE:
        draw_noise(images, &random, work, x);
        break;
    case IMAGES_LEAVES:
        draw_leaves(images, &random, work, x);
        break;
    case IMAGES_MIXED:
        if (i % 2)
            draw_noise(images, &random, work, x);
        else
            draw_leaves(images, &random, work, x);
        break;
    case IMAGES_WHITE:
        for (int k = 0; k < n; k++)
            x[k] = (float)random_normal(&random);
        break;
    case IMAGES_FOLDER: {
        uint32_t picture = random_below(&random, (uint32_t)images->n);
        memcpy(x, images->pictures + (size_t)picture * (size_t)n, (size_t)n * sizeof *x);
        break;
    }
    }
}

uint64_t images_hash(const struct images *images)
{
    return images->hash;
}
