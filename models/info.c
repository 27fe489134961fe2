#include "models/info.h"

#include <math.h>

/* The expectation by the trapezoidal rule, whose error falls faster than any power for
 * such integrands: 1e-9 at s = 10, 3e-4 at s = 100. weights[k] belongs to k/3 and -k/3
 * standard deviations: exp(-k^2/18) / (3 sqrt(2 pi)). */
static const double weights[] = {
    0.13298076013381091,    0.12579440923099772,    0.10648266850745074,
    0.080656908173047784,   0.054670024891997876,   0.033159046264249578,
    0.01799698883772935,    0.0087406296979031725,  0.003798662007932481,
    0.0014772828039793359,  0.00051409299876370267, 0.00016009021720694023,
    4.4610075254961782e-05, 1.1123620798546141e-05, 2.4820152902100099e-06,
    4.955731715780993e-07,  8.8543396950730408e-08, 1.415629582151634e-08,
    2.0252942832744286e-09, 2.5928160226898982e-10, 2.9703000624507389e-11,
    3.044906802788198e-12,
};

/* log(1 + exp(x)) and its derivative. */
static double softplus(double x, double *slope)
{
    double e = exp(-fabs(x));
    *slope = (x > 0.0 ? 1.0 : e) / (1.0 + e);
    return fmax(x, 0.0) + log1p(e);
}

double info_expected(double mean, double s, double *d_mean, double *d_s)
{
    s = fmax(s, 1e-30);
    double sd = sqrt(s), log_s = log(s), info = 0.0, slope_sum = 0.0, slope_t = 0.0;
    for (int k = 0; k < (int)(sizeof weights / sizeof *weights); k++) {
        double t = k / 3.0, up, down = 0.0;
        double value = softplus(mean + log_s + sd * t, &up);
        if (k > 0)
            value += softplus(mean + log_s - sd * t, &down);
        info += weights[k] * value;
        slope_sum += weights[k] * (up + down);
        slope_t += weights[k] * t * (up - down);
    }
    *d_mean = 0.5 * slope_sum;
    *d_s = 0.5 * (slope_sum / s + slope_t / (2.0 * sd));
    return 0.5 * info;
}
