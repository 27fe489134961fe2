#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>

#include "stimulus/geometry.h"

/* 57.29 cm away 1 cm is 1 degree in the centre; 20 pixels a cm. */
static const struct geometry far = {.width_cm = 40.0,
                                    .height_cm = 30.0,
                                    .distance_cm = 57.29,
                                    .width_px = 800,
                                    .height_px = 600};
/* A mouse's screen: 10 cm away. */
static const struct geometry near = {.width_cm = 52.0,
                                     .height_cm = 29.25,
                                     .distance_cm = 10.0,
                                     .width_px = 1920,
                                     .height_px = 1080};

#define assert_near(a, b, limit) assert_true(fabs((a) - (b)) <= (limit))

static void test_directions(void **state)
{
    (void)state;
    assert_near(geometry_x_px(&far, 0.0), 400.0, 0.0);
    assert_near(geometry_y_px(&far, 0.0), 300.0, 0.0);
    assert_near(geometry_x_px(&far, 1.0), 420.0, 0.01);
    assert_near(geometry_y_px(&far, 1.0), 280.0, 0.01); /* up is a smaller row */
    /* tan 45 = 1: as far from the centre as the eye is from the screen */
    assert_near(geometry_x_px(&near, 45.0), 960.0 + 1920.0 * 10.0 / 52.0, 1e-9);
    assert_near(geometry_x_px(&near, -45.0), 960.0 - 1920.0 * 10.0 / 52.0, 1e-9);
    assert_near(geometry_y_px(&near, 45.0), 540.0 - 1080.0 * 10.0 / 29.25, 1e-9);
}

static void test_angle_of_every_patch(void **state)
{
    (void)state;
    /* The edges of the rectangle, seen from the eye, are where they should be: half a
     * pixel at most, computed backwards with atan. */
    const double to_deg = 180.0 / acos(-1.0);
    for (double x = -60.0; x <= 60.0; x += 7.5)
        for (double y = -45.0; y <= 45.0; y += 7.5)
            for (double size = 0.5; size <= 20.0; size *= 2.0) {
                struct geometry_rect rect;
                if (geometry_patch(&near, x, y, size, &rect) != 0)
                    continue;
                double px_cm = near.width_cm / near.width_px;
                double left_cm = (rect.x_px - 960) * px_cm;
                double right_cm = (rect.x_px + rect.width_px - 960) * px_cm;
                double top_cm = (540 - rect.y_px) * px_cm;
                double bottom_cm = (540 - rect.y_px - rect.height_px) * px_cm;
                double half_px_deg = 0.501 * px_cm / near.distance_cm * to_deg;
                assert_near(atan(left_cm / 10.0) * to_deg, x - size / 2, half_px_deg);
                assert_near(atan(right_cm / 10.0) * to_deg, x + size / 2, half_px_deg);
                assert_near(atan(top_cm / 10.0) * to_deg, y + size / 2, half_px_deg);
                assert_near(atan(bottom_cm / 10.0) * to_deg, y - size / 2, half_px_deg);
            }
}

static void assert_rect(const struct geometry_rect *rect, int x, int y, int width,
                        int height)
{
    assert_int_equal(rect->x_px, x);
    assert_int_equal(rect->y_px, y);
    assert_int_equal(rect->width_px, width);
    assert_int_equal(rect->height_px, height);
}

static void test_patch(void **state)
{
    (void)state;
    struct geometry_rect rect;
    assert_int_equal(geometry_patch(&far, 0.0, 0.0, 10.0, &rect), 0);
    assert_rect(&rect, 300, 200, 200, 200);
    /* Off the centre the same angle is more pixels: tan 15 - tan 5 over 2 tan 5. */
    assert_int_equal(geometry_patch(&far, 10.0, 0.0, 10.0, &rect), 0);
    assert_rect(&rect, 500, 200, 207, 200);
    /* Partly off the screen is a patch; less than a pixel becomes one. */
    assert_int_equal(geometry_patch(&far, 19.0, 0.0, 10.0, &rect), 0);
    assert_true(rect.x_px + rect.width_px > 800);
    assert_int_equal(geometry_patch(&far, 3.0, 3.0, 1e-6, &rect), 0);
    assert_int_equal(rect.width_px, 1);
    assert_int_equal(rect.height_px, 1);
}

static void test_no_patch(void **state)
{
    (void)state;
    struct geometry_rect rect;
    struct geometry bad = far;
    assert_int_equal(geometry_patch(&far, 40.0, 0.0, 1.0, &rect), -ERANGE);
    assert_int_equal(geometry_patch(&far, 0.0, -40.0, 1.0, &rect), -ERANGE);
    assert_int_equal(geometry_patch(&far, 0.0, 0.0, 100.0, &rect), -ERANGE);
    assert_int_equal(geometry_patch(&far, 0.0, 0.0, 0.0, &rect), -EDOM);
    assert_int_equal(geometry_patch(&far, 0.0, 0.0, NAN, &rect), -EDOM);
    assert_int_equal(geometry_patch(&far, NAN, 0.0, 1.0, &rect), -EDOM);
    assert_int_equal(geometry_patch(&far, 0.0, INFINITY, 1.0, &rect), -EDOM);
    assert_int_equal(geometry_patch(&far, 89.0, 0.0, 4.0, &rect), -EDOM);
    bad.distance_cm = 0.0;
    assert_int_equal(geometry_patch(&bad, 0.0, 0.0, 1.0, &rect), -EDOM);
    bad = far;
    bad.width_cm = NAN;
    assert_int_equal(geometry_patch(&bad, 0.0, 0.0, 1.0, &rect), -EDOM);
    bad = far;
    bad.height_cm = INFINITY;
    assert_int_equal(geometry_patch(&bad, 0.0, 0.0, 1.0, &rect), -EDOM);
}

static void test_diode(void **state)
{
    (void)state;
    struct geometry_rect rect;
    assert_int_equal(geometry_diode(&far, 2.0, 1, &rect), 0);
    assert_rect(&rect, 0, 0, 40, 40);
    assert_int_equal(geometry_diode(&far, 2.0, 2, &rect), 0);
    assert_rect(&rect, 760, 0, 40, 40);
    assert_int_equal(geometry_diode(&far, 2.0, 3, &rect), 0);
    assert_rect(&rect, 0, 560, 40, 40);
    assert_int_equal(geometry_diode(&far, 2.0, 4, &rect), 0);
    assert_rect(&rect, 760, 560, 40, 40);
    assert_int_equal(geometry_diode(&far, 2.0, 0, &rect), 0);
    assert_rect(&rect, 0, 0, 0, 0);
    assert_int_equal(geometry_diode(&far, 0.0, 4, &rect), 0);
    assert_rect(&rect, 0, 0, 0, 0);
    assert_int_equal(geometry_diode(&far, 89.9, 4, &rect), 0);
    assert_rect(&rect, 0, 0, 800, 600);
    assert_int_equal(geometry_diode(&far, 2.0, 5, &rect), -EDOM);
    assert_int_equal(geometry_diode(&far, -1.0, 1, &rect), -EDOM);
    assert_int_equal(geometry_diode(&far, NAN, 1, &rect), -EDOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directions), cmocka_unit_test(test_angle_of_every_patch),
        cmocka_unit_test(test_patch),      cmocka_unit_test(test_no_patch),
        cmocka_unit_test(test_diode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
