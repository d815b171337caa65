/* select/frontier.c -- upper hulls of (cost, quality) points, by one sort and one stack. */
#include "select/frontier.h"

#include <math.h>
#include <stdlib.h>

static int by_cost(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    return x->quality > y->quality ? -1 : x->quality < y->quality;
}

size_t frontier_hull(struct point *p, size_t n)
{
    size_t kept = 0;
    double best = -INFINITY;
    qsort(p, n, sizeof *p, by_cost);
    for (size_t i = 0; i < n; i++) {
        struct point next = p[i];
        if (!(next.quality > best))
            continue;
        best = next.quality;
        while (kept >= 2) {
            struct point a = p[kept - 2], b = p[kept - 1];
            if ((b.quality - a.quality) * (next.cost - a.cost) > (next.quality - a.quality) * (b.cost - a.cost))
                break;
            kept--;                     /* b lies on or below the line from a to the new point */
        }
        p[kept++] = next;
    }
    return kept;
}

/* Area of the trapezium under one edge, cut to [low, high]. */
static double edge_area(struct point a, struct point b, double low, double high)
{
    double from = fmax(a.cost, low), to = fmin(b.cost, high);
    if (!(to > from))
        return 0;
    double slope = (b.quality - a.quality) / (b.cost - a.cost);
    return (to - from) * (a.quality + slope * ((from + to) / 2 - a.cost));
}

double frontier_area(const struct point *hull, size_t n, double low, double high)
{
    if (n == 0 || !(high > low))
        return n ? hull[n - 1].quality : 0;
    double area = 0;
    for (size_t i = 0; i + 1 < n; i++)
        area += edge_area(hull[i], hull[i + 1], low, high);
    if (hull[n - 1].cost < high)
        area += (high - fmax(hull[n - 1].cost, low)) * hull[n - 1].quality;
    return area / (high - low);
}

double frontier_cost(const struct point *hull, size_t n, double quality)
{
    for (size_t i = 0; i < n; i++) {
        if (hull[i].quality < quality)
            continue;
        if (i == 0)
            return hull[0].cost;
        struct point a = hull[i - 1], b = hull[i];
        return a.cost + (b.cost - a.cost) * (quality - a.quality) / (b.quality - a.quality);
    }
    return (double)NAN;
}
