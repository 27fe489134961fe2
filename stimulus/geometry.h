/*
 * geometry.h: where on a flat screen something lies that is given in degrees of visual
 * angle. Pure.
 *
 * The eye looks at the screen's centre along its normal; a direction x degrees to the
 * right meets the screen at distance * tan(x), and y degrees up likewise. So each edge of
 * a patch is mapped by itself, and a patch far from the centre is larger in pixels than
 * the same patch in the centre.
 *
 * Units: degrees (x right, y up), cm, pixels (x right, y down, from the top left).
 */
#ifndef EVOKE_GEOMETRY_H
#define EVOKE_GEOMETRY_H

struct geometry {
    double width_cm, height_cm, distance_cm; /* visible part; eye to centre */
    int width_px, height_px;
};

struct geometry_rect {
    int x_px, y_px, width_px, height_px;
};

/* [any] Pixel coordinate of a direction, fractional; |deg| < 90. */
double geometry_x_px(const struct geometry *geometry, double x_deg);
double geometry_y_px(const struct geometry *geometry, double y_deg);

/* [any] The square patch of size_deg round (x_deg, y_deg), edges rounded to whole pixels
 * (at least one). 0; -EDOM: a size, distance or angle that no screen has; -ERANGE: no
 * part of it lies on the screen, or it is larger than two screens. */
int geometry_patch(const struct geometry *geometry, double x_deg, double y_deg,
                   double size_deg, struct geometry_rect *rect);

/* [any] The photodiode square of side_deg (as seen in the screen's centre) in a corner: 1
 * top left, 2 top right, 3 bottom left, 4 bottom right; corner 0 or side 0: an empty
 * rectangle. 0 or -EDOM. */
int geometry_diode(const struct geometry *geometry, double side_deg, unsigned corner,
                   struct geometry_rect *rect);

#endif
