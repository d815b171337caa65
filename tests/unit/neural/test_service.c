/* tests/unit/neural/test_service.c -- one flight a text, a bounded cache and queue, deadlines and cancels in every state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/sanitizer.h"
#include "fake_trunk.h"
#include "runtime/loop.h"

static struct neural_model *plain;
static char folder[] = "/tmp/signalbox-service-XXXXXX";                 /* of the head files */
static char head_path[64];

static int folder_make(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(head_path, sizeof head_path, "%s/head.safetensors", folder);
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    unlink(head_path);
    return rmdir(folder);
}

static struct neural_head *head_make(enum head_kind kind, uint32_t dim, bool has_words, float bias)
{
    fake_head_write(head_path, kind, dim, has_words, bias);
    struct neural_head *h = neural_head_open(head_path, NULL);
    assert_non_null(h);
    return h;
}

static void start(unsigned threads, size_t queue_tokens, size_t cache_bytes)
{
    struct neural_options o = { .threads = threads, .queue_tokens = queue_tokens, .cache_bytes = cache_bytes };
    struct err e = { .text = "" };
    assert_int_equal(neural_start(&o, &e), 0);
    plain = fake_model(FAKE_PLAIN, 0, 0);
    assert_non_null(plain);
    atomic_store(&fake_forwards, 0);
    atomic_store(&fake_texts, 0);
    atomic_store(&fake_stopped, 0);
    atomic_store(&fake_ganged, 0);
    atomic_store(&fake_tokens_most, 0);
}

static void stop(void)
{
    atomic_store(&fake_gate_shut, false);
    neural_stop();
    neural_model_release(plain);
}

static struct neural_counts count(void)
{
    struct neural_counts c;
    neural_count(&c);
    return c;
}

static uint64_t in_ms(uint64_t ms)
{
    return clock_now() + ms * NS_PER_MS;
}

#define UNTIL(condition)                                                                                               \
    do {                                                                                                               \
        uint64_t give_up = in_ms(20000);                                                                               \
        while (!(condition) && clock_now() < give_up)                                                                  \
            usleep(200);                                                                                               \
        assert_true(condition);                                                                                        \
    } while (0)

/* ---- a caller on its own thread ---- */

struct caller { pthread_t thread; struct neural_ask ask; uint64_t deadline; struct arena *a; };

static void *caller_run(void *arg)
{
    struct caller *c = arg;
    neural_run(&c->ask, 1, c->deadline, c->a);
    return NULL;
}

static void call(struct caller *c, const char *text, uint64_t deadline)
{
    *c = (struct caller){ .ask = { .task = NEURAL_EMBED, .model = plain, .text = str_of(text) }, .deadline = deadline,
                          .a = arena_new() };
    pthread_create(&c->thread, NULL, caller_run, c);
}

static int end(struct caller *c)
{
    pthread_join(c->thread, NULL);
    arena_free(c->a);
    return c->ask.status;
}

static int embed(const char *text)
{
    struct caller c;
    call(&c, text, NEVER);
    return end(&c);
}

/* ---- answers ---- */

static void a_vector_is_the_normalised_mean_of_the_states(void **state)
{
    (void)state;
    start(1, 0, 0);
    struct arena *a = arena_new();
    struct neural_ask ask = { .task = NEURAL_EMBED, .model = plain, .text = S("aaab") };
    assert_int_equal(neural_run(&ask, 1, NEVER, a), 1);
    assert_int_equal(ask.n_windows, 1);
    assert_int_equal(ask.n_tokens, 6);
    float length = 0;
    for (int i = 0; i < FAKE_DIM; i++)
        length += ask.values[i] * ask.values[i];
    assert_true(fabsf(length - 1) < 1e-5f);
    assert_true(fabsf(ask.values[0] / ask.values[1] - 3 / 1.001f) < 1e-4f);
    arena_free(a);
    stop();
}

static void a_truncated_vector_has_length_one_again(void **state)
{
    (void)state;
    start(1, 0, 0);
    struct neural_model *small = fake_model(FAKE_PLAIN, 0, 2);
    assert_int_equal(neural_model_dim(small), 2);
    struct arena *a = arena_new();
    struct neural_ask ask = { .task = NEURAL_EMBED, .model = small, .text = S("abcdefgh") };
    assert_int_equal(neural_run(&ask, 1, NEVER, a), 1);
    assert_true(fabsf(ask.values[0] * ask.values[0] + ask.values[1] * ask.values[1] - 1) < 1e-5f);
    arena_free(a);
    neural_model_release(small);
    stop();
}

static void all_tasks_of_a_text_share_one_forward(void **state)
{
    (void)state;
    start(2, 0, 0);
    struct neural_head *head = head_make(HEAD_LINEAR, FAKE_DIM, true, 0), *tokens = head_make(HEAD_TOKENS, FAKE_DIM, false, -1);
    struct neural_model *m = fake_model(FAKE_SEQUENCE, 0, 0);
    struct arena *a = arena_new();
    str text = S("some xx text");
    struct neural_ask asks[] = {
        { .task = NEURAL_EMBED, .model = m, .text = text },
        { .task = NEURAL_LABELS, .model = m, .text = text },
        { .task = NEURAL_LABELS, .model = m, .head = head, .text = text },
        { .task = NEURAL_SPANS, .model = m, .head = tokens, .text = text },
        { .task = NEURAL_SPANS, .model = m, .text = text },             /* m is no token classifier */
    };
    assert_int_equal(neural_run(asks, 5, NEVER, a), 4);
    assert_int_equal(asks[4].status, -EINVAL);
    assert_int_equal(atomic_load(&fake_forwards), 1);
    assert_true(fabsf(asks[1].values[0] + asks[1].values[1] - 1) < 1e-5f);
    assert_true(asks[2].values[1] > .5f);
    assert_int_equal(asks[3].n_spans, 1);
    assert_int_equal(asks[3].spans[0].from, 5);
    assert_int_equal(asks[3].spans[0].to, 7);
    assert_true(str_eq(neural_head_get(tokens)->labels[asks[3].spans[0].label], S("NAME")));
    uint64_t hits = count().cache_hits;
    assert_int_equal(neural_run(asks, 4, NEVER, a), 4);                 /* all of it is kept */
    assert_int_equal(atomic_load(&fake_forwards), 1);
    assert_int_equal(count().cache_hits - hits, 4);
    arena_free(a);
    neural_head_release(head);
    neural_head_release(tokens);
    neural_model_release(m);
    stop();
}

/* Window i of the ask says what the head says when it is asked directly. */
static void labels_are(const struct neural_ask *ask, uint32_t i, const float *vector, str words)
{
    const struct head *h = neural_head_get(ask->head);
    float logits[HEAD_LABELS_MAX], direct[HEAD_LABELS_MAX];
    head_ngrams(h, words, logits);
    head_run(h, vector, logits, direct);
    for (uint32_t k = 0; k < h->n_labels; k++)
        assert_true(fabsf(ask->values[i * h->n_labels + k] - direct[k]) < 1e-5f);
}

static void labels_are_the_same_wherever_they_are_made(void **state)
{
    (void)state;
    start(1, 0, 0);
    struct neural_model *m = fake_model(FAKE_PLAIN, 512, 0);
    struct neural_head *one = head_make(HEAD_LINEAR, FAKE_DIM, true, 1), *other = head_make(HEAD_LINEAR, FAKE_DIM, true, -2);
    struct arena *a = arena_new();
    for (uint32_t len = 100; len <= 3000; len = len * 5 / 2) {          /* the short ones here, the long ones by the threads */
        char *text = arena_alloc(a, len);
        for (uint32_t i = 0; i < len; i++)
            text[i] = i % 9 < 3 ? (char)('a' + (i * i + i / 7) % 26) : ' ';
        struct neural_ask asks[] = { { .task = NEURAL_EMBED, .model = m, .text = { text, len } },
                                     { .task = NEURAL_LABELS, .model = m, .head = one, .text = { text, len } },
                                     { .task = NEURAL_LABELS, .model = m, .head = other, .text = { text, len } } };
        assert_int_equal(neural_run(asks, 3, NEVER, a), 3);
        assert_int_equal(asks[1].n_windows, asks[0].n_windows);
        if (asks[0].n_windows == 1) {
            labels_are(&asks[1], 0, asks[0].values, asks[1].text);
            labels_are(&asks[2], 0, asks[0].values, asks[2].text);
        }
    }
    arena_free(a);
    neural_head_release(one);
    neural_head_release(other);
    neural_model_release(m);
    stop();
}

/* Windows of the whole text first, as always; then one for each passage, which says what the head says of it alone, moved by the card. */
static void a_head_sees_passages_of_a_long_text_by_themselves(void **state)
{
    (void)state;
    start(1, 0, 0);
    fake_guard_write(head_path, S("zzz"));
    struct neural_head *head = neural_head_open(head_path, NULL);
    assert_non_null(head);
    struct arena *a = arena_new();
    str bad = S("xx zzz xx and so on until the sentence has fifty bytes. ");
    char *text = arena_alloc(a, 4096);
    size_t len = 0;
    for (int i = 0; i < 20; i++)
        len += (size_t)sprintf(text + len, "%s", i == 13 ? bad.ptr : "aa bb cc dd ee ff gg hh and some more, it is but a filler. ");
    struct neural_ask ask = { .task = NEURAL_LABELS, .model = plain, .head = head, .text = { text, len } };
    struct neural_ask alone = { .task = NEURAL_LABELS, .model = plain, .head = head, .text = str_upto(bad, bad.len) };
    struct neural_ask whole = { .task = NEURAL_EMBED, .model = plain, .text = ask.text };
    assert_int_equal(neural_run(&whole, 1, NEVER, a), 1);
    assert_int_equal(neural_run(&alone, 1, NEVER, a), 1);
    unsigned forwards = atomic_load(&fake_forwards);
    assert_int_equal(alone.n_windows, 1);
    assert_int_equal(alone.n_spans, 0);
    assert_int_equal(neural_run(&ask, 1, NEVER, a), 1);
    assert_int_equal(atomic_load(&fake_forwards), forwards);            /* both texts are known, only the place was not */
    assert_int_equal(ask.n_windows, whole.n_windows + 1);
    assert_int_equal(ask.n_spans, 1);
    assert_memory_equal(text + ask.spans[0].from, bad.ptr, bad.len);
    assert_int_equal(ask.spans[0].to - ask.spans[0].from, bad.len);
    float p = alone.values[0], expected = (logf(p / (1 - p)) - .25f * logf(20)) / 2 - 1;
    assert_true(fabsf(ask.values[ask.n_windows - 1] - 1 / (1 + expf(-expected))) < 1e-4f);
    ask.status = -1;
    assert_int_equal(neural_run(&ask, 1, NEVER, a), 1);                 /* from the cache: the same */
    assert_int_equal(ask.n_windows, whole.n_windows + 1);
    assert_int_equal(atomic_load(&fake_forwards), forwards);
    arena_free(a);
    neural_head_release(head);
    stop();
}

/* What a text hides in base64 is looked at like a passage, chosen from nothing. */
static void what_a_text_hides_in_a_code_is_seen_by_itself(void **state)
{
    (void)state;
    start(1, 0, 0);
    fake_guard_write(head_path, S("zzz"));
    struct neural_head *head = neural_head_open(head_path, NULL);
    struct arena *a = arena_new();
    struct neural_ask alone = { .task = NEURAL_LABELS, .model = plain, .head = head, .text = S("xx zzz xx and so on") };
    struct neural_ask ask = { .task = NEURAL_LABELS, .model = plain, .head = head, .text = S("aa eHggenp6IHh4IGFuZCBzbyBvbg== bb") };
    struct neural_ask other = { .task = NEURAL_EMBED, .model = plain, .text = ask.text };
    assert_int_equal(neural_run(&alone, 1, NEVER, a), 1);
    assert_int_equal(neural_run(&ask, 1, NEVER, a), 1);
    assert_int_equal(neural_run(&other, 1, NEVER, a), 1);
    assert_int_equal(ask.n_windows, other.n_windows + 1);
    assert_int_equal(ask.n_spans, 0);
    float p = alone.values[0], expected = logf(p / (1 - p)) / 2 - 1;
    assert_true(fabsf(ask.values[ask.n_windows - 1] - 1 / (1 + expf(-expected))) < 1e-4f);
    arena_free(a);
    neural_head_release(head);
    stop();
}

/* Half an answer is none: a passage that could not be looked at makes the whole text unknown. */
static void a_passage_without_an_answer_leaves_the_text_without_one(void **state)
{
    (void)state;
    start(1, 0, 0);
    fake_guard_write(head_path, S("zzz"));
    struct neural_head *head = neural_head_open(head_path, NULL);
    struct arena *a = arena_new();
    str text = S("aa bb cc dd ee ff gg hh and some more, it is but a filler. xx zzz xx and so on until the sentence has fifty bytes. ");
    struct neural_ask ask = { .task = NEURAL_EMBED, .model = plain, .text = text };
    assert_int_equal(neural_run(&ask, 1, NEVER, a), 1);
    atomic_store(&fake_gate_shut, true);                                /* the rows are known, so only the passage waits here */
    ask = (struct neural_ask){ .task = NEURAL_LABELS, .model = plain, .head = head, .text = text };
    assert_int_equal(neural_run(&ask, 1, in_ms(50), a), 0);
    assert_int_equal(ask.status, -ETIMEDOUT);
    arena_free(a);
    neural_head_release(head);
    stop();
}

static void words_alone_need_no_model_and_no_threads(void **state)
{
    (void)state;
    struct neural_head *head = head_make(HEAD_LINEAR, 0, true, 2);
    struct arena *a = arena_new();
    struct neural_ask ask = { .task = NEURAL_LABELS, .head = head, .text = S("a few words") };
    assert_int_equal(neural_run(&ask, 1, NEVER, a), 1);
    labels_are(&ask, 0, NULL, ask.text);
    start(1, 0, 0);
    char *big = malloc(100000);                                         /* a long one is read by the encoder threads */
    memset(big, 'a', 100000);
    ask.text = (str){ big, 100000 };
    assert_int_equal(neural_run(&ask, 1, NEVER, a), 1);
    assert_true(ask.n_windows > 20 && ask.n_windows < 30);
    assert_int_equal(atomic_load(&fake_forwards), 0);
    free(big);
    arena_free(a);
    neural_head_release(head);
    stop();
}

/* ---- flights ---- */

static void thirty_callers_of_one_text_share_one_flight(void **state)
{
    (void)state;
    start(2, 0, 0);
    atomic_store(&fake_gate_shut, true);
    uint64_t before = count().shared;
    struct caller c[30];
    for (int i = 0; i < 30; i++)
        call(&c[i], "the same text", NEVER);
    UNTIL(count().shared - before == 29);
    atomic_store(&fake_gate_shut, false);
    for (int i = 0; i < 30; i++)
        assert_int_equal(end(&c[i]), 0);
    assert_int_equal(atomic_load(&fake_forwards), 1);
    assert_int_equal(embed("the same text"), 0);
    assert_int_equal(atomic_load(&fake_forwards), 1);
    stop();
}

static void what_waits_goes_into_one_batch_and_a_lonely_batch_gets_the_gang(void **state)
{
    (void)state;
    start(2, 0, 0);
    atomic_store(&fake_gate_shut, true);
    struct caller first, c[10];
    call(&first, "first", NEVER);
    UNTIL(atomic_load(&fake_waiting) == 1);                             /* with the gang: both threads are taken */
    char texts[10][16];
    for (int i = 0; i < 10; i++) {
        snprintf(texts[i], sizeof texts[i], "number %c", 'a' + i);
        call(&c[i], texts[i], NEVER);
    }
    UNTIL(count().queue_tokens >= 10 * 4);
    atomic_store(&fake_gate_shut, false);
    assert_int_equal(end(&first), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(end(&c[i]), 0);
    assert_int_equal(atomic_load(&fake_forwards), 2);
    assert_int_equal(atomic_load(&fake_ganged), 2);
    assert_int_equal(atomic_load(&fake_texts), 11);
    stop();
}

/* ---- bounds ---- */

static void a_million_distinct_texts_stay_within_the_cache(void **state)
{
    (void)state;
    enum { ROUND = 1000, ROUNDS = WITH_ASAN || WITH_TSAN ? 20 : 1000, BYTES = 1 << 20 };
    start(1, 0, BYTES);
    static char texts[ROUND][8];
    static struct neural_ask asks[ROUND];
    for (int r = 0; r < ROUNDS; r++) {
        struct arena *a = arena_new();
        for (int i = 0; i < ROUND; i++) {
            for (int k = 0, v = r * ROUND + i; k < 5; k++, v /= 26)
                texts[i][k] = (char)('a' + v % 26);
            asks[i] = (struct neural_ask){ .task = NEURAL_EMBED, .model = plain, .text = { texts[i], 5 } };
        }
        assert_int_equal(neural_run(asks, ROUND, NEVER, a), ROUND);
        assert_true(count().cache_bytes <= BYTES);
        arena_free(a);
    }
    assert_int_equal(atomic_load(&fake_texts), ROUND * ROUNDS);
    assert_true(count().cache_bytes > BYTES / 2);
    stop();
}

static void beyond_the_queue_s_bound_a_text_is_refused_at_once(void **state)
{
    (void)state;
    start(1, 100, 0);
    atomic_store(&fake_gate_shut, true);
    struct caller running, waiting[9];
    call(&running, "running", NEVER);
    UNTIL(atomic_load(&fake_waiting) == 1);
    char texts[9][64];
    for (int i = 0; i < 9; i++) {                                       /* 12 tokens by the guess: 8 have room */
        snprintf(texts[i], sizeof texts[i], "%040d", i);
        call(&waiting[i], texts[i], NEVER);
        if (i < 8)
            UNTIL(count().queue_tokens == (size_t)(i + 1) * 12);
    }
    uint64_t refused = count().refused;
    assert_int_equal(end(&waiting[8]), -EAGAIN);
    assert_true(count().refused > 0 && count().refused <= refused + 1);
    atomic_store(&fake_gate_shut, false);
    for (int i = 0; i < 8; i++)
        assert_int_equal(end(&waiting[i]), 0);
    assert_int_equal(end(&running), 0);
    stop();
}

/* ---- deadlines ---- */

static void a_text_whose_deadline_passes_in_the_queue_is_never_computed(void **state)
{
    (void)state;
    start(1, 0, 0);
    atomic_store(&fake_gate_shut, true);
    struct caller running, late;
    call(&running, "running", NEVER);
    UNTIL(atomic_load(&fake_waiting) == 1);
    call(&late, "late", in_ms(10));
    assert_int_equal(end(&late), -ETIMEDOUT);
    assert_int_equal(count().queue_tokens, 0);
    atomic_store(&fake_gate_shut, false);
    assert_int_equal(end(&running), 0);
    assert_int_equal(atomic_load(&fake_forwards), 1);
    stop();
}

static void the_others_of_a_flight_get_their_answer_when_one_gives_up(void **state)
{
    (void)state;
    start(1, 0, 0);
    atomic_store(&fake_gate_shut, true);
    uint64_t shared = count().shared;
    struct caller patient, hasty;
    call(&patient, "shared", NEVER);
    UNTIL(atomic_load(&fake_waiting) == 1);
    call(&hasty, "shared", in_ms(10));
    UNTIL(count().shared == shared + 1);
    assert_int_equal(end(&hasty), -ETIMEDOUT);
    atomic_store(&fake_gate_shut, false);
    assert_int_equal(end(&patient), 0);
    assert_int_equal(atomic_load(&fake_stopped), 0);
    stop();
}

static void a_forward_that_nobody_waits_for_stops_and_the_text_can_be_asked_again(void **state)
{
    (void)state;
    start(1, 0, 0);
    atomic_store(&fake_gate_shut, true);
    struct caller hasty;
    call(&hasty, "again", in_ms(10));
    assert_int_equal(end(&hasty), -ETIMEDOUT);
    UNTIL(atomic_load(&fake_stopped) == 1);
    atomic_store(&fake_gate_shut, false);
    assert_int_equal(embed("again"), 0);
    assert_int_equal(atomic_load(&fake_forwards), 2);
    stop();
}

static void a_deadline_in_the_past_still_gets_what_is_known(void **state)
{
    (void)state;
    start(1, 0, 0);
    assert_int_equal(embed("known"), 0);
    struct caller c;
    call(&c, "known", 1);
    assert_int_equal(end(&c), 0);
    call(&c, "unknown", 1);
    assert_int_equal(end(&c), -ETIMEDOUT);
    stop();
}

/* ---- stop ---- */

static void stop_ends_what_runs_and_what_waits_and_another_start_works(void **state)
{
    (void)state;
    start(1, 0, 0);
    atomic_store(&fake_gate_shut, true);
    struct caller running, waiting;
    call(&running, "running", NEVER);
    UNTIL(atomic_load(&fake_waiting) == 1);
    call(&waiting, "waiting", NEVER);
    UNTIL(count().queue_tokens > 0);
    neural_stop();
    assert_int_equal(end(&running), -ECANCELED);
    assert_int_equal(end(&waiting), -ECANCELED);
    assert_int_equal(embed("late"), -ECANCELED);
    stop();
    start(2, 0, 0);
    assert_int_equal(embed("fresh"), 0);
    stop();
}

/* ---- fibers ---- */

struct world {
    struct loop *l;
    unsigned n_fibers, n_ok, n_cancelled, n_timed_out;
    struct fiber *victim, *victims[10];
    unsigned n_victims;
    const char *text;
    uint64_t deadline;
    unsigned n_rounds;
};

static void leave(struct world *w)
{
    if (--w->n_fibers == 0)
        loop_stop(w->l);
}

static void fiber_asks(void *arg)
{
    struct world *w = arg;
    struct arena *a = arena_new();
    struct neural_ask ask = { .task = NEURAL_EMBED, .model = plain, .text = str_of(w->text) };
    neural_run(&ask, 1, w->deadline, a);
    w->n_ok += ask.status == 0;
    w->n_cancelled += ask.status == -ECANCELED;
    w->n_timed_out += ask.status == -ETIMEDOUT;
    arena_free(a);
    leave(w);
}

static void fiber_cancels_when_it_waits(void *arg)
{
    struct world *w = arg;
    uint64_t give_up = in_ms(5000);
    while (atomic_load(&fake_waiting) == 0 && clock_now() < give_up)
        fiber_sleep(in_ms(5));
    fiber_sleep(in_ms(10));                                             /* the victim's letter, if any, is on its way */
    fiber_cancel(w->victim);
    leave(w);
}

static struct world cancel_one(const char *text)
{
    struct world w = { .l = loop_new(0), .n_fibers = 2, .text = text, .deadline = NEVER };
    w.victim = fiber_go(w.l, "victim", fiber_asks, &w);
    fiber_go(w.l, "canceller", fiber_cancels_when_it_waits, &w);
    loop_run(w.l);
    loop_free(w.l);
    return w;
}

static void a_cancelled_fiber_returns_at_once_and_its_running_text_stops(void **state)
{
    (void)state;
    start(1, 0, 0);
    atomic_store(&fake_gate_shut, true);
    struct world w = cancel_one("victim");
    assert_int_equal(w.n_cancelled, 1);
    UNTIL(atomic_load(&fake_stopped) == 1);
    stop();
}

static void a_fiber_cancelled_in_the_queue_takes_its_text_with_it(void **state)
{
    (void)state;
    start(1, 0, 0);
    atomic_store(&fake_gate_shut, true);
    struct caller running;
    call(&running, "running", NEVER);
    UNTIL(atomic_load(&fake_waiting) == 1);
    struct world w = cancel_one("victim");
    assert_int_equal(w.n_cancelled, 1);
    assert_int_equal(count().queue_tokens, 0);
    atomic_store(&fake_gate_shut, false);
    assert_int_equal(end(&running), 0);
    assert_int_equal(atomic_load(&fake_forwards), 1);
    stop();
}

static void a_cancelled_fiber_does_not_take_the_flight_from_others(void **state)
{
    (void)state;
    start(1, 0, 0);
    atomic_store(&fake_gate_shut, true);
    struct caller other;
    call(&other, "shared", NEVER);
    UNTIL(atomic_load(&fake_waiting) == 1);
    struct world w = cancel_one("shared");
    assert_int_equal(w.n_cancelled, 1);
    atomic_store(&fake_gate_shut, false);
    assert_int_equal(end(&other), 0);
    assert_int_equal(atomic_load(&fake_stopped), 0);
    stop();
}

static void a_fiber_times_out(void **state)
{
    (void)state;
    start(1, 0, 0);
    atomic_store(&fake_gate_shut, true);
    struct world w = { .l = loop_new(0), .n_fibers = 1, .text = "never", .deadline = in_ms(10) };
    fiber_go(w.l, "hasty", fiber_asks, &w);
    loop_run(w.l);
    loop_free(w.l);
    assert_int_equal(w.n_timed_out, 1);
    stop();
}

/* ---- everything at once ---- */

static void fiber_asks_much(void *arg)
{
    struct world *w = arg;
    static const char *const texts[] = { "a", "bb", "ccc", "dd d", "eee ee", "f", "gg", "h h h", "iii" };
    for (unsigned i = 0; i < w->n_rounds; i++) {
        struct arena *a = arena_new();
        struct neural_ask asks[3];
        for (unsigned k = 0; k < 3; k++)
            asks[k] = (struct neural_ask){ .task = NEURAL_EMBED, .model = plain,
                                           .text = str_of(texts[(i * 7 + k) % COUNT_OF(texts)]) };
        w->n_ok += neural_run(asks, 3, i % 5 ? NEVER : in_ms(1), a) == 3;
        arena_free(a);
    }
    for (unsigned i = 0; i < w->n_victims; i++)                         /* stays until it has been cancelled */
        if (w->victims[i] == fiber_self())
            while (!fiber_is_cancelled(fiber_self()))
                fiber_sleep(in_ms(1));
    leave(w);
}

static void fiber_cancels_now_and_then(void *arg)
{
    struct world *w = arg;
    for (unsigned i = 0; i < w->n_victims; i++) {
        fiber_sleep(in_ms(1));
        fiber_cancel(w->victims[i]);
    }
    leave(w);
}

static void *loop_thread(void *arg)
{
    struct world *w = arg;
    w->l = loop_new(0);
    enum { FIBERS = WITH_TSAN ? 20 : 100 };
    for (int i = 0; i < FIBERS; i++) {
        struct fiber *f = fiber_go(w->l, "many", fiber_asks_much, w);
        w->n_fibers++;
        if (i % 10 == 0)
            w->victims[w->n_victims++] = f;
    }
    w->n_fibers++;
    fiber_go(w->l, "canceller", fiber_cancels_now_and_then, w);
    loop_run(w->l);
    loop_free(w->l);
    return NULL;
}

static void *plain_thread(void *arg)
{
    unsigned *good = arg;
    for (int i = 0; i < 300; i++) {
        char text[16];
        snprintf(text, sizeof text, "%c%c", 'a' + i % 26, 'a' + i % 7);
        struct arena *a = arena_new();
        struct neural_ask ask = { .task = NEURAL_EMBED, .model = plain, .text = str_of(text) };
        *good += neural_run(&ask, 1, NEVER, a) == 1;
        arena_free(a);
    }
    return NULL;
}

static atomic_bool reload_ends;

struct reader { struct neural_head *head; unsigned n_wrong; atomic_uint n_runs; };

static void *read_thread(void *arg)
{
    struct reader *r = arg;
    float before = expf(0) / (1 + expf(0)), after = 1 / (1 + expf(-3));
    while (!atomic_load(&reload_ends)) {
        struct arena *a = arena_new();
        struct neural_ask ask = { .task = NEURAL_LABELS, .model = plain, .head = r->head, .text = S("aaa") };
        neural_run(&ask, 1, NEVER, a);
        atomic_fetch_add(&r->n_runs, 1);
        r->n_wrong += ask.status != 0 || (fabsf(ask.values[1] - before) > 1e-4f && fabsf(ask.values[1] - after) > 1e-4f);
        arena_free(a);
    }
    return NULL;
}

static void fibers_and_threads_are_served_together(void **state)
{
    (void)state;
    start(2, 0, 2048);                                                  /* the cache is too small: flights again and again */
    struct world w[2] = { { .n_rounds = 30 }, { .n_rounds = 30 } };
    unsigned good[2] = { 0 };
    pthread_t t[4];
    for (int i = 0; i < 2; i++) {
        pthread_create(&t[i], NULL, loop_thread, &w[i]);
        pthread_create(&t[2 + i], NULL, plain_thread, &good[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(good[0], 300);
    assert_int_equal(good[1], 300);
    assert_true(w[0].n_ok > 0 && w[1].n_ok > 0);
    assert_int_equal(count().queue_tokens, 0);
    stop();
}

static void a_head_is_replaced_while_it_is_served(void **state)
{
    (void)state;
    start(2, 0, 0);
    struct err e = { .text = "" };
    struct reader r[2] = { { .head = head_make(HEAD_LINEAR, FAKE_DIM, false, 0) } };
    r[1].head = r[0].head;
    pthread_t t[2];
    atomic_store(&reload_ends, false);
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, read_thread, &r[i]);
    const struct head *old = neural_head_get(r[0].head);
    assert_int_equal(neural_head_reload(r[0].head, &e), 0);             /* nothing new */
    for (int i = 1; i <= 20; i++) {
        fake_head_write(head_path, HEAD_LINEAR, FAKE_DIM, false, i % 2 ? 3 : 0);
        assert_int_equal(neural_head_reload(r[0].head, &e), 1);
        usleep(500);
    }
    fake_head_write(head_path, HEAD_LINEAR, 0, true, 0);                     /* not the same shape: refused, the old one stays */
    assert_int_equal(neural_head_reload(r[0].head, &e), -1);
    assert_non_null(strstr(e.text, head_path));
    assert_true(str_eq(old->labels[1], S("yes")));                      /* readers of the first version still may look */
    UNTIL(atomic_load(&r[0].n_runs) > 10);
    atomic_store(&reload_ends, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(r[i].n_wrong, 0);
    }
    neural_head_release(r[0].head);
    stop();
}

/* ---- long texts ---- */

static void a_long_text_is_read_to_its_end(void **state)
{
    (void)state;
    start(2, 0, 0);
    struct neural_model *m = fake_model(FAKE_TOKENS, 64, 0);
    enum { N = 20000 };
    char *text = malloc(N);
    memset(text, 'a', N);
    for (int i = 4; i < N; i += 5)
        text[i] = ' ';
    memcpy(text, "xyyy", 4);
    memcpy(text + 1005, "xyyy", 4);
    memcpy(text + N - 5, "xyyy", 4);
    struct arena *a = arena_new();
    struct neural_ask asks[] = {
        { .task = NEURAL_EMBED, .model = m, .text = { text, N } },
        { .task = NEURAL_SPANS, .model = m, .text = { text, 2000 } },
        { .task = NEURAL_SPANS, .model = m, .text = { text, N } },
    };
    assert_int_equal(neural_run(asks, 3, NEVER, a), 3);
    assert_int_equal(asks[0].n_windows, WINDOWS_MAX);
    assert_int_equal(asks[1].n_spans, 2);
    assert_int_equal(asks[1].spans[1].from, 1005);
    assert_int_equal(asks[1].spans[1].to, 1009);
    const struct neural_span *last = &asks[2].spans[asks[2].n_spans - 1];
    assert_int_equal(last->from, N - 5);
    assert_int_equal(last->to, N - 1);
    assert_true(asks[0].values[('x' - 'a') % 8] > 0 && asks[0].values[63 * 8 + ('x' - 'a') % 8] > 0);
    assert_true(asks[0].values[30 * 8 + ('x' - 'a') % 8] < .001f);
    assert_true(atomic_load(&fake_tokens_most) <= BATCH_TOKENS);
    arena_free(a);
    free(text);
    neural_model_release(m);
    stop();
}

static void ten_megabytes_cost_no_more_than_sixty_four_windows(void **state)
{
    (void)state;
    start(1, 0, 0);
    struct neural_model *m = fake_model(FAKE_TOKENS, 256, 0);
    enum { N = 10 << 20 };
    char *text = malloc(N);
    memset(text, 'b', N);
    for (int i = 7; i < N; i += 8)
        text[i] = ' ';
    memcpy(text + N - 8, " xyyyyyy", 8);
    struct arena *a = arena_new();
    struct neural_ask asks[] = { { .task = NEURAL_EMBED, .model = m, .text = { text, N } },
                                 { .task = NEURAL_SPANS, .model = m, .text = { text, N } } };
    uint64_t tokens = count().tokens;
    assert_int_equal(neural_run(asks, 2, NEVER, a), 2);
    assert_int_equal(asks[0].n_windows, WINDOWS_MAX);
    assert_true(count().tokens - tokens <= WINDOWS_MAX * 256);
    assert_int_equal(asks[1].n_spans, 1);
    assert_int_equal(asks[1].spans[0].from, N - 7);
    assert_int_equal(asks[1].spans[0].to, N);
    arena_free(a);
    free(text);
    neural_model_release(m);
    stop();
}

static void empty_and_broken_texts_have_one_window(void **state)
{
    (void)state;
    start(1, 0, 0);
    struct arena *a = arena_new();
    struct neural_ask asks[] = { { .task = NEURAL_EMBED, .model = plain, .text = S("") },
                                 { .task = NEURAL_EMBED, .model = plain, .text = { NULL, 0 } },
                                 { .task = NEURAL_EMBED, .model = plain, .text = S("\xff\xc3\x00\xe2\x82") } };
    assert_int_equal(neural_run(asks, 3, NEVER, a), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(asks[i].n_windows, 1);
    arena_free(a);
    stop();
}

static void a_text_of_many_windows_does_not_hold_up_a_short_one(void **state)
{
    (void)state;
    start(1, 0, 0);
    enum { N = 14000 };
    char *text = malloc(N + 1);
    memset(text, 'c', N);
    for (int i = 9; i < N; i += 10)
        text[i] = ' ';
    text[N] = 0;
    atomic_store(&fake_gate_shut, true);
    struct caller first, big, small;
    call(&first, "first", NEVER);
    UNTIL(atomic_load(&fake_waiting) == 1);
    call(&big, text, NEVER);
    UNTIL(count().queue_tokens > 3000);
    call(&small, "small", NEVER);
    UNTIL(count().queue_tokens > 3502);
    atomic_store(&fake_slow_us, 100000);
    atomic_store(&fake_gate_shut, false);
    assert_int_equal(end(&small), 0);
    assert_true(atomic_load(&fake_forwards) < 8);                       /* the big one takes seven alone, the others one each */
    atomic_store(&fake_slow_us, 0);
    assert_int_equal(end(&big), 0);
    assert_int_equal(end(&first), 0);
    free(text);
    stop();
}

static int tidy(void **state)           /* after a failure too: the next one starts afresh */
{
    (void)state;
    atomic_store(&fake_gate_shut, false);
    atomic_store(&fake_slow_us, 0);
    neural_stop();
    return 0;
}

#define SERVED(test) cmocka_unit_test_teardown(test, tidy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(a_vector_is_the_normalised_mean_of_the_states),
        SERVED(a_truncated_vector_has_length_one_again),
        SERVED(all_tasks_of_a_text_share_one_forward),
        SERVED(labels_are_the_same_wherever_they_are_made),
        SERVED(a_head_sees_passages_of_a_long_text_by_themselves),
        SERVED(what_a_text_hides_in_a_code_is_seen_by_itself),
        SERVED(a_passage_without_an_answer_leaves_the_text_without_one),
        SERVED(words_alone_need_no_model_and_no_threads),
        SERVED(thirty_callers_of_one_text_share_one_flight),
        SERVED(what_waits_goes_into_one_batch_and_a_lonely_batch_gets_the_gang),
        SERVED(a_million_distinct_texts_stay_within_the_cache),
        SERVED(beyond_the_queue_s_bound_a_text_is_refused_at_once),
        SERVED(a_text_whose_deadline_passes_in_the_queue_is_never_computed),
        SERVED(the_others_of_a_flight_get_their_answer_when_one_gives_up),
        SERVED(a_forward_that_nobody_waits_for_stops_and_the_text_can_be_asked_again),
        SERVED(a_deadline_in_the_past_still_gets_what_is_known),
        SERVED(stop_ends_what_runs_and_what_waits_and_another_start_works),
        SERVED(a_cancelled_fiber_returns_at_once_and_its_running_text_stops),
        SERVED(a_fiber_cancelled_in_the_queue_takes_its_text_with_it),
        SERVED(a_cancelled_fiber_does_not_take_the_flight_from_others),
        SERVED(a_fiber_times_out),
        SERVED(fibers_and_threads_are_served_together),
        SERVED(a_head_is_replaced_while_it_is_served),
        SERVED(a_long_text_is_read_to_its_end),
        SERVED(ten_megabytes_cost_no_more_than_sixty_four_windows),
        SERVED(empty_and_broken_texts_have_one_window),
        SERVED(a_text_of_many_windows_does_not_hold_up_a_short_one),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
