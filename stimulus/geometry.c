#include "geometry.h"

#include <errno.h>
#include <math.h>

#define RADIANS (3.14159265358979323846 / 180.0)

double geometry_x_px(const struct geometry *geometry, double x_deg)
{
    double x_cm = geometry->distance_cm * tan(x_deg * RADIANS);
    return geometry->width_px * (0.5 + x_cm / geometry->width_cm);
}

double geometry_y_px(const struct geometry *geometry, double y_deg)
{
    double y_cm = geometry->distance_cm * tan(y_deg * RADIANS);
    return geometry->height_px * (0.5 - y_cm / geometry->height_cm);
}

static int is_screen(const struct geometry *geometry)
{
    return geometry->width_cm > 0.0 && isfinite(geometry->width_cm) &&
           geometry->height_cm > 0.0 && isfinite(geometry->height_cm) &&
           geometry->distance_cm > 0.0 && isfinite(geometry->distance_cm) &&
           geometry->width_px > 0 && geometry->height_px > 0;
}

/* Whole pixels from the edges lo to hi on a screen of n_px. */
static int round_edges(double lo, double hi, int n_px, int *start_px, int *length_px)
{
    if (!(hi > 0.0 && lo < n_px && hi - lo <= 2.0 * n_px))
        return -ERANGE;
    *start_px = (int)lround(lo);
    *length_px = (int)lround(hi) - *start_px;
    if (*length_px < 1)
        *length_px = 1;
    if (*start_px >= n_px || *start_px + *length_px <= 0)
        return -ERANGE;
    return 0;
}

int geometry_patch(const struct geometry *geometry, double x_deg, double y_deg,
                   double size_deg, struct geometry_rect *rect)
{
    double half = 0.5 * size_deg;
    if (!is_screen(geometry) || !(size_deg > 0.0) || !(fabs(x_deg) + half < 90.0) ||
        !(fabs(y_deg) + half < 90.0))
        return -EDOM;
    int err = round_edges(geometry_x_px(geometry, x_deg - half),
                          geometry_x_px(geometry, x_deg + half), geometry->width_px,
                          &rect->x_px, &rect->width_px);
    if (err)
        return err;
    return round_edges(geometry_y_px(geometry, y_deg + half),
                       geometry_y_px(geometry, y_deg - half), geometry->height_px,
                       &rect->y_px, &rect->height_px);
}

int geometry_diode(const struct geometry *geometry, double side_deg, unsigned corner,
                   struct geometry_rect *rect)
{
    *rect = (struct geometry_rect){0};
    if (!is_screen(geometry) || !(side_deg >= 0.0 && side_deg < 90.0) || corner > 4)
        return -EDOM;
    if (corner == 0 || side_deg == 0.0)
        return 0;
    double side_cm = 2.0 * geometry->distance_cm * tan(0.5 * side_deg * RADIANS);
    double width = round(side_cm / geometry->width_cm * geometry->width_px);
    double height = round(side_cm / geometry->height_cm * geometry->height_px);
    rect->width_px = (int)fmax(1.0, fmin(width, geometry->width_px));
    rect->height_px = (int)fmax(1.0, fmin(height, geometry->height_px));
    if (corner == 2 || corner == 4)
        rect->x_px = geometry->width_px - rect->width_px;
    if (corner == 3 || corner == 4)
        rect->y_px = geometry->height_px - rect->height_px;
    return 0;
}
