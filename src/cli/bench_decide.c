/* cli/bench_decide.c -- how long a decision takes, in this process, without a network.
 *
 * For every profile of a configuration. `given`: all signals are there, only the policy is
 * computed; SETS different random outcomes are decided in turn, so that the branch predictor does
 * not learn one by heart. `lazy`: a request from its facts to its decision with as few signals as
 * it takes, for a short, a middle and a long text; `winner`: the same without waiting for the
 * winner's confidence; `eager`: with all signals. */
#include <linux/perf_event.h>
#include <malloc.h>
#include <math.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "base/rand.h"
#include "cli/bench.h"
#include "signal/signal.h"

enum {
    SETS = 64,
    ROUND_NS = 20000000,                /* one round; the median of ROUNDS counts */
    ROUNDS = 7,
};

struct figure {
    double ns, cycles, instructions;    /* of one decision; cycles NAN: not countable here */
    double heap_bytes;                  /* malloc'd and kept, of one decision */
    double arena_bytes;                 /* taken from the request's arena */
    double units_run, units_avoided;
};

struct lot {                            /* what one measurement decides */
    const struct policy *policy;
    struct decide_scratch *scratch[SETS];
    struct facts facts;
    bool is_run;                        /* else: given */
    enum decide_mode mode;
    uint64_t arena_bytes, units_run, units_avoided;
};

/* ---- counters of the processor, where the kernel lets us ---- */

static int counter_open(uint64_t what)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_HARDWARE, .size = sizeof attr, .config = what, .disabled = 1,
        .exclude_kernel = 1, .exclude_hv = 1,
    };
    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static void counter_start(int fd)
{
    if (fd >= 0) {
        ioctl(fd, PERF_EVENT_IOC_RESET, 0);
        ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
    }
}

static double counter_stop(int fd)
{
    uint64_t v;
    if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_DISABLE, 0) < 0 || read(fd, &v, sizeof v) != sizeof v)
        return (double)NAN;
    return (double)v;
}

/* ---- measuring ---- */

static void decide_once(struct lot *lot, uint64_t i)
{
    if (!lot->is_run) {
        decide_given(lot->policy, lot->scratch[i % SETS]);
        return;
    }
    struct arena *a = arena_new();
    if (!a)
        return;
    struct decision d = decide_run(lot->policy, &lot->facts, lot->scratch[0], a, lot->mode,
                                   NULL);
    lot->arena_bytes += arena_bytes(a);
    lot->units_run += d.n_units_run;
    lot->units_avoided += d.n_units_avoided;
    arena_free(a);
}

static void sort(double *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        double moving = v[i];
        size_t at = i;
        for (; at > 0 && v[at - 1] > moving; at--)
            v[at] = v[at - 1];
        v[at] = moving;
    }
}

static struct figure measure(struct lot *lot)
{
    double ns[ROUNDS];
    uint64_t n = 1, total = 0;
    int cycles = counter_open(PERF_COUNT_HW_CPU_CYCLES);
    int instructions = counter_open(PERF_COUNT_HW_INSTRUCTIONS);
    struct figure f = { 0 };
    for (;;) {                                  /* warms up, and finds how many fill a round */
        uint64_t start = clock_now();
        for (uint64_t i = 0; i < n; i++)
            decide_once(lot, i);
        if (clock_now() - start > ROUND_NS / 2)
            break;
        n *= 2;
    }
    lot->arena_bytes = lot->units_run = lot->units_avoided = 0;
    struct mallinfo2 before = mallinfo2();
    counter_start(cycles);
    counter_start(instructions);
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t start = clock_now();
        for (uint64_t i = 0; i < n; i++)
            decide_once(lot, i);
        ns[r] = (double)(clock_now() - start) / (double)n;
        total += n;
    }
    f.cycles = counter_stop(cycles) / (double)total;
    f.instructions = counter_stop(instructions) / (double)total;
    struct mallinfo2 after = mallinfo2();
    f.heap_bytes = ((double)(after.uordblks + after.hblkhd) -
                    (double)(before.uordblks + before.hblkhd)) / (double)total;
    sort(ns, ROUNDS);
    f.ns = ns[ROUNDS / 2];
    f.arena_bytes = (double)lot->arena_bytes / (double)total;
    f.units_run = (double)lot->units_run / (double)total;
    f.units_avoided = (double)lot->units_avoided / (double)total;
    if (cycles >= 0)
        close(cycles);
    if (instructions >= 0)
        close(instructions);
    return f;
}

/* ---- what is measured ---- */

static void signals_random(const struct policy *p, struct decide_scratch *s, uint64_t *state)
{
    struct sigset *g = decide_sigset(s);
    for (uint32_t i = 0; i < policy_n_slots(p); i++) {
        bool matched = rand_below(state, 4) == 0;
        sig_set(g, i, matched);
        g->confidence[i] = matched && rand_below(state, 2) ? (float)rand_unit(state) : NAN;
        g->value[i] = rand_below(state, 2) ? rand_unit(state) * 4 - 2 : (double)NAN;
    }
}

static const struct { const char *name, *text; unsigned times; } texts[] = {
    { "short", "What is the capital of France?", 1 },
    { "2 KB",
      "Compare the two designs step by step, prove the bound from first principles and cite "
      "your sources; then write the function in Rust and explain why it is correct. ", 12 },
    { "16 KB",
      "The quarterly report lists revenue, costs and headcount for every region, with notes "
      "on currency and one-off effects that the auditors asked about in the spring. ", 98 },
};

static const struct { const char *name; enum decide_mode mode; } modes[] = {
    { "lazy", DECIDE_LAZY }, { "winner", DECIDE_WINNER }, { "eager", DECIDE_EAGER },
};

static struct chat *chat_of(struct arena *a, const char *piece, unsigned times)
{
    struct buf b = { 0 };
    for (unsigned i = 0; i < times; i++)
        buf_str(&b, str_of(piece));
    struct chat *c = ARENA_NEW(a, struct chat);
    c->messages = ARENA_NEW(a, struct message);
    c->n_messages = 1;
    c->messages[0] = (struct message){ .role = ROLE_USER, .texts = ARENA_NEW(a, str), .n_texts = 1,
                                       .text_bytes = 4 + b.len };
    c->messages[0].texts[0] = arena_str(a, buf_view(&b));
    buf_free(&b);
    return c;
}

/* ---- telling ---- */

static void figure_json(struct json_writer *w, const char *what, const struct figure *f,
                        bool is_lazy)
{
    const struct { const char *key; double v; bool is_shown; } all[] = {
        { "ns", f->ns, true }, { "cycles", f->cycles, !isnan(f->cycles) },
        { "instructions", f->instructions, !isnan(f->instructions) },
        { "heap_bytes", f->heap_bytes, true }, { "arena_bytes", f->arena_bytes, is_lazy },
        { "units_run", f->units_run, is_lazy }, { "units_avoided", f->units_avoided, is_lazy },
    };
    jw_begin(w, '{');
    put_str(w, S("what"), str_of(what));
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (!all[i].is_shown)
            continue;
        put_double(w, str_of(all[i].key), all[i].v);
    }
    jw_end(w, '}');
}

static void figure_text(struct buf *out, const char *what, const struct figure *f, bool is_lazy)
{
    buf_printf(out, "  %-14s %9.0f ns", what, f->ns);
    if (!isnan(f->cycles))
        buf_printf(out, " %9.0f cycles %9.0f instructions", f->cycles, f->instructions);
    buf_printf(out, "  heap %+.2f B", f->heap_bytes);
    if (is_lazy)
        buf_printf(out, "  units run %.0f, avoided %.0f", f->units_run, f->units_avoided);
    buf_char(out, '\n');
}

static void report_one(struct bench_report *r, const char *what, const struct figure *f, bool is_lazy)
{
    if (r->is_json)
        figure_json(&r->w, what, f, is_lazy);
    else
        figure_text(r->w.out, what, f, is_lazy);
}

static int bench_profile(const struct config *c, size_t at, struct bench_report *r)
{
    const struct profile *profile = &c->profiles[at];
    if (!profile->n_decisions)
        return CLI_FINE;
    struct arena *a = arena_new();
    struct findings findings = { .a = a };
    struct signal_make_arg arg = { .global = c->global };
    const struct policy *p = policy_build(a, profile, signal_make_all, &arg, &findings);
    if (!p) {
        cli_findings(stderr, &findings, SEVERITY_ERROR);
        arena_free(a);
        return CLI_FINDING;
    }
    struct lot *lot = ARENA_NEW(a, struct lot);
    uint64_t state = 1;
    lot->policy = p;
    for (int i = 0; i < SETS; i++) {
        lot->scratch[i] = decide_scratch_new(a, p);
        signals_random(p, lot->scratch[i], &state);
    }
    if (r->is_json) {
        jw_begin(&r->w, '{');
        put_str(&r->w, S("profile"), profile->name);
        put_int(&r->w, S("decisions"), (int64_t)profile->n_decisions);
        put_int(&r->w, S("signals"), policy_n_slots(p));
        put_open(&r->w, S("figures"), '[');
    } else {
        buf_printf(r->w.out, STR_FMT ": %zu decisions, %u signals\n", STR_ARG(profile->name),
                   profile->n_decisions, policy_n_slots(p));
    }
    struct figure f = measure(lot);
    report_one(r, "given", &f, false);
    lot->is_run = true;
    for (size_t i = 0; i < COUNT_OF(texts) * COUNT_OF(modes); i++) {
        char what[32];
        size_t t = i / COUNT_OF(modes), m = i % COUNT_OF(modes);
        lot->facts = (struct facts){ .seed = 1 };
        lot->mode = modes[m].mode;
        facts_build(&lot->facts, a, chat_of(a, texts[t].text, texts[t].times));
        f = measure(lot);
        snprintf(what, sizeof what, "%s, %s", modes[m].name, texts[t].name);
        report_one(r, what, &f, true);
    }
    if (r->is_json) {
        jw_end(&r->w, ']');
        jw_end(&r->w, '}');
    }
    arena_free(a);
    return CLI_FINE;
}

int bench_decide(int argc, char **argv)
{
    return bench_profiles(argc, argv, bench_profile);
}
