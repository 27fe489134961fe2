#include "models/image_mask.h"

#include <math.h>
#include <string.h>

struct point {
    int x, y;
};

/* A byte mask beside one plane of points or floats. */
size_t image_mask_work_size(int height, int width)
{
    size_t n = (size_t)height * (size_t)width;
    return 2 * (n + 7) / 8 * 8 + (2 * n + 2) * sizeof(struct point);
}

static void *after_mask(void *work, int height, int width)
{
    return (uint8_t *)work + 2 * ((size_t)height * (size_t)width + 7) / 8 * 8;
}

void image_mask_threshold(int height, int width, const float *x, double limit,
                          uint8_t *mask)
{
    size_t n = (size_t)height * (size_t)width;
    double mean = 0.0, sum = 0.0;
    for (size_t i = 0; i < n; i++)
        mean += (double)x[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - mean) * ((double)x[i] - mean);
    double distance = limit * sqrt(sum / (double)n);
    for (size_t i = 0; i < n; i++)
        mask[i] = fabs((double)x[i] - mean) > distance;
}

/* One step over edges: a pixel becomes `to` beside a neighbour that is `to`; outside
 * there is only 0. */
static void spread(int height, int width, uint8_t to, uint8_t *mask, uint8_t *old)
{
    memcpy(old, mask, (size_t)height * (size_t)width);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            size_t at = (size_t)y * (size_t)width + (size_t)x;
            uint8_t up = y > 0 ? old[at - (size_t)width] : 0;
            uint8_t down = y < height - 1 ? old[at + (size_t)width] : 0;
            uint8_t left = x > 0 ? old[at - 1] : 0,
                    right = x < width - 1 ? old[at + 1] : 0;
            if (up == to || down == to || left == to || right == to)
                mask[at] = to;
        }
}

void image_mask_close(int height, int width, int n, uint8_t *mask, void *work)
{
    for (int i = 0; i < n; i++)
        spread(height, width, 1, mask, work);
    for (int i = 0; i < n; i++)
        spread(height, width, 0, mask, work);
}

/* Mark the piece of one pixel; returns its size. queue: (height * width). */
static size_t flood(int height, int width, uint8_t *mask, struct point start,
                    uint8_t mark, struct point *queue)
{
    size_t n = 0, done = 0;
    uint8_t was = mask[(size_t)start.y * (size_t)width + (size_t)start.x];
    mask[(size_t)start.y * (size_t)width + (size_t)start.x] = mark;
    queue[n++] = start;
    while (done < n) {
        struct point p = queue[done++];
        for (int y = p.y - 1; y <= p.y + 1; y++)
            for (int x = p.x - 1; x <= p.x + 1; x++) {
                if (y < 0 || y >= height || x < 0 || x >= width ||
                    mask[(size_t)y * (size_t)width + (size_t)x] != was)
                    continue;
                mask[(size_t)y * (size_t)width + (size_t)x] = mark;
                queue[n++] = (struct point){x, y};
            }
    }
    return n;
}

void image_mask_largest(int height, int width, uint8_t *mask, void *work)
{
    struct point *queue = after_mask(work, height, width), best = {-1, -1};
    size_t most = 0, n_all = (size_t)height * (size_t)width;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            struct point p = {x, y};
            if (mask[(size_t)y * (size_t)width + (size_t)x] != 1)
                continue;
            size_t n = flood(height, width, mask, p, 2, queue);
            if (n > most) {
                most = n;
                best = p;
            }
        }
    if (most > 0)
        flood(height, width, mask, best, 3, queue);
    for (size_t i = 0; i < n_all; i++)
        mask[i] = mask[i] == 3;
}

static long turn(struct point a, struct point b, struct point c)
{
    return (long)(b.x - a.x) * (c.y - a.y) - (long)(b.y - a.y) * (c.x - a.x);
}

/* Corners of the hull of points sorted by column (Andrew 1979). */
static int hull_corners(int n, const struct point *p, struct point *hull)
{
    int n_hull = 0;
    for (int side = 0; side < 2; side++) {
        int floor = n_hull + 1;
        for (int i = 0; i < n; i++) {
            struct point q = side ? p[n - 1 - i] : p[i];
            while (n_hull > floor && turn(hull[n_hull - 2], hull[n_hull - 1], q) <= 0)
                n_hull--;
            hull[n_hull++] = q;
        }
        n_hull--; /* the last of this side is the first of the other */
    }
    return n_hull;
}

void image_mask_hull(int height, int width, uint8_t *mask, void *work)
{
    struct point *points = after_mask(work, height, width);
    int n = 0;
    for (int x = 0; x < width; x++)
        for (int y = 0; y < height; y++)
            if (mask[(size_t)y * (size_t)width + (size_t)x])
                points[n++] = (struct point){x, y};
    if (n < 3)
        return;
    struct point *hull = points + n;
    int n_hull = hull_corners(n, points, hull);
    /* points on a line have two corners: inside is then the line between them, within
     * its rows and columns */
    int top = points[0].y, bottom = top;
    for (int i = 1; i < n; i++) {
        top = points[i].y < top ? points[i].y : top;
        bottom = points[i].y > bottom ? points[i].y : bottom;
    }
    for (int y = top; y <= bottom; y++)
        for (int x = points[0].x; x <= points[n - 1].x; x++) {
            int inside = 1;
            for (int i = 0; i < n_hull && inside; i++)
                inside = turn(hull[i], hull[(i + 1) % n_hull], (struct point){x, y}) >= 0;
            if (inside)
                mask[(size_t)y * (size_t)width + (size_t)x] = 1;
        }
}

/* Neighbour i of n with the border repeated: d c b a | a b c d | d c b a. */
static int mirror(int i, int n)
{
    i %= 2 * n;
    if (i < 0)
        i += 2 * n;
    return i < n ? i : 2 * n - 1 - i;
}

static double smooth_at(int n, int at, int half, double sigma, const float *from,
                        int stride)
{
    double sum = 0.0, total = 0.0;
    for (int i = -half; i <= half; i++) {
        double weight = exp(-0.5 * i * i / (sigma * sigma));
        total += weight;
        sum += weight * (double)from[(size_t)mirror(at + i, n) * (size_t)stride];
    }
    return sum / total;
}

void image_mask_smooth(int height, int width, const uint8_t *mask, double sigma_px,
                       float *out, void *work)
{
    float *plane = work;
    int half = (int)(4.0 * sigma_px + 0.5);
    size_t n = (size_t)height * (size_t)width;
    for (size_t i = 0; i < n; i++)
        out[i] = (float)mask[i];
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            plane[y * width + x] =
                (float)smooth_at(height, y, half, sigma_px, out + x, width);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            out[y * width + x] =
                (float)smooth_at(width, x, half, sigma_px, plane + y * width, 1);
}

void image_mask_mei(int height, int width, const float *x, double limit, float *out,
                    void *work)
{
    uint8_t *mask = (uint8_t *)work + (size_t)height * (size_t)width;
    image_mask_threshold(height, width, x, limit, mask);
    image_mask_close(height, width, 2, mask, work);
    image_mask_largest(height, width, mask, work);
    image_mask_hull(height, width, mask, work);
    uint8_t *kept = after_mask(work, height, width);
    memmove(kept, mask, (size_t)height * (size_t)width);
    image_mask_smooth(height, width, kept, 1.0, out,
                      (uint8_t *)kept + ((size_t)height * (size_t)width + 7) / 8 * 8);
}
