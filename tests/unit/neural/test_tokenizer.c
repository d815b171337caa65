/* tests/unit/neural/test_tokenizer.c -- texts become what Hugging Face `tokenizers` makes of them; files that cannot be read say
 * why.
 *
 * The numbers below are that library's answers to the same small files; tests/neural/tokenizer_oracle.py asks it on a grand
 * scale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <malloc.h>

#include "base/buf.h"
#include "base/sanitizer.h"
#include "neural/tokenizer.h"

/* Files are written with ' for ". */
static struct tokenizer *parse(const char *json, struct err *e)
{
    char *text = strdup(json);
    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    *e = (struct err){ 0 };
    struct tokenizer *t = tokenizer_parse(str_of(text), "t.json", e);
    free(text);                                         /* nothing may point into it any more */
    return t;
}

/* "4:0-5 5:5-9": numbers and byte offsets. */
static void encoded(const struct tokenizer *t, struct tokenizer_scratch *s, str a, str b, bool adds_special, struct buf *out)
{
    struct tokens tokens = { 0 };
    out->len = 0;
    assert_int_equal(tokenizer_encode(t, a, b, adds_special, s, &tokens), 0);
    for (uint32_t i = 0; i < tokens.n; i++)
        buf_printf(out, "%s%d:%u-%u", i ? " " : "", tokens.ids[i], tokens.from[i], tokens.to[i]);
    buf_char(out, 0);
}

struct text_case { str text; const char *expected; };

static void check(const char *json, const struct text_case *cases, size_t n)
{
    struct err e;
    struct tokenizer *t = parse(json, &e);
    if (!t)
        fail_msg("%s", e.text);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    struct buf out = { 0 };
    for (int round = 0; round < 2; round++) {           /* the second time, words are remembered */
        for (size_t i = 0; i < n; i++) {
            encoded(t, s, cases[i].text, (str){ 0 }, true, &out);
            assert_string_equal(out.ptr, cases[i].expected);
        }
    }
    buf_free(&out);
    tokenizer_scratch_free(s);
    tokenizer_close(t);
}

#define T(literal) { "" literal, sizeof(literal) - 1 }

static const char wordpiece[] =
    "{'added_tokens':[{'id':0,'content':'[CLS]','special':true,'normalized':false},{'id':1,'content':'[SEP]','special':true},"
    "{'id':2,'content':'[MASK]','special':true,'normalized':false,'lstrip':true}],"
    "'normalizer':{'type':'BertNormalizer','clean_text':true,'handle_chinese_chars':true,'strip_accents':null,'lowercase':true},"
    "'pre_tokenizer':{'type':'BertPreTokenizer'},'truncation':{'max_length':3},'padding':{'strategy':{'Fixed':128}},"
    "'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'[CLS]','type_id':0}},{'Sequence':{'id':'A',"
    "'type_id':0}},{'SpecialToken':{'id':'[SEP]','type_id':0}}],'pair':[{'SpecialToken':{'id':'[CLS]','type_id':0}},{'Sequence':"
    "{'id':'A','type_id':0}},{'SpecialToken':{'id':'[SEP]','type_id':0}},{'Sequence':{'id':'B','type_id':1}},{'SpecialToken':"
    "{'id':'[SEP]','type_id':1}}],'special_tokens':{'[CLS]':{'id':'[CLS]','ids':[0],'tokens':['[CLS]']},"
    "'[SEP]':{'id':'[SEP]','ids':[1],'tokens':['[SEP]']}}},"
    "'model':{'type':'WordPiece','unk_token':'[UNK]','continuing_subword_prefix':'##','max_input_chars_per_word':10,"
    "'vocab':{'[CLS]':0,'[SEP]':1,'[MASK]':2,'[UNK]':3,'token':4,'##izer':5,'##s':6,'caf':7,'##e':8,'中':9,'!':10,'i':11,"
    "'##stanbul':12,'a':13,'##a':14}}}";

static void wordpiece_keeps_the_places_of_a_normalised_text(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        { T("Tokenizers! Café"), "0:0-0 4:0-5 5:5-9 6:9-10 10:10-11 7:12-15 8:15-17 1:0-0" },
        { T("中a\tİstanbul"), "0:0-0 9:0-3 13:3-4 11:5-7 12:7-14 1:0-0" },
        { T("x [MASK]!"), "0:0-0 3:0-1 2:1-8 10:8-9 1:0-0" },
        { T("aaaaaaaaaa aaaaaaaaaaa"),                  /* ten characters, and one more than the model allows */
          "0:0-0 13:0-1 14:1-2 14:2-3 14:3-4 14:4-5 14:5-6 14:6-7 14:7-8 14:8-9 14:9-10 3:11-22 1:0-0" },
        { T(""), "0:0-0 1:0-0" },
        { T("cafe\u0301s"), "0:0-0 7:0-3 8:3-4 6:6-7 1:0-0" },
        { T("a\u200ba"), "0:0-0 13:0-1 14:4-5 1:0-0" },
    };
    check(wordpiece, cases, COUNT_OF(cases));
}

static void broken_bytes_count_as_one_replacement_for_each_maximal_subpart(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        { T("caf\xff\xe9 \xe4\xb8 a\x00" "a"), "0:0-0 7:0-3 13:9-10 14:11-12 1:0-0" },
    };
    check(wordpiece, cases, COUNT_OF(cases));
    static const struct text_case kept[] = {            /* a model that knows U+FFFD: one token a subpart */
        { T("a\xff\xfe"), "1:0-1 0:1-2 0:2-3" },
        { T("\xe2\x82" "a"), "0:0-2 1:2-3" },
        { T("\xed\xa0\x80"), "0:0-1 0:1-2 0:2-3" },
        { T("\xf0\x9f\x98" "a\xf4\x90\xc3"), "0:0-3 1:3-4 0:4-5 0:5-6 0:6-7" },
        { T("\xe0\x80\xef\xbf\xbd"), "0:0-1 0:1-2 0:2-5" },
    };
    check("{'model':{'type':'BPE','vocab':{'\uFFFD':0,'a':1},'merges':[]}}", kept, COUNT_OF(kept));
}

static void byte_level_offsets_lose_their_blanks(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        { T("ab ab"), "3:0-2 4:3-5" },
        { T(" abb  ab"), "4:0-3 1:3-4 2:5-5 4:6-8" },
        { T("é é"), "7:0-2 2:3-3 7:3-5" },
        { T("abs11"), "3:0-2 9:2-3 11:3-4 11:4-5" },
        { T("a \n\n b"), "0:0-1 2:2-2 10:2-3 10:3-4 2:5-5 1:5-6" },
        { T("\xc3 \xa9"), "2:1-1" },
    };
    check("{'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false,'use_regex':true},"
          "'post_processor':{'type':'ByteLevel','trim_offsets':true,'add_prefix_space':true},'model':{'type':'BPE',"
          "'vocab':{'a':0,'b':1,'Ġ':2,'ab':3,'Ġab':4,'Ã':5,'©':6,'Ã©':7,'s':9,'Ċ':10,'1':11,'bb':12},'merges':['a b','Ġ ab',['Ã','©'],'b b']}}",
          cases, COUNT_OF(cases));
}

static void unigram_takes_the_best_path_and_fuses_what_is_unknown(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        { T("hello"), "6:0-3 4:3-5" },
        { T(" hello   wxyzl"), "6:0-4 4:4-6 1:8-9 8:9-10 0:10-13 3:13-14" },
        { T("éé"), "1:0-2 0:0-4" },
        { T(""), "" },
    };
    check("{'normalizer':{'type':'Replace','pattern':{'Regex':' {2,}'},'content':' '},'pre_tokenizer':{'type':'Metaspace',"
          "'replacement':'▁','prepend_scheme':'always','split':true},'model':{'type':'Unigram','unk_id':0,'vocab':[['<unk>',0.0],"
          "['▁',-3.0],['▁he',-4.0],['l',-2.0],['lo',-2.5],['llo',-3.9],['▁hel',-5.0],['o',-2.2],['w',-3.1]]}}",
          cases, COUNT_OF(cases));
}

static void gemma_falls_back_on_bytes(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        { T("ab ab  ab"), "5:0-2 7:2-5 1:5-6 7:6-9" },
        { T("é"), "8:0-2 10:0-2" },
        { T("zz ab<bos>b"), "0:0-2 7:2-5 9:5-10 3:10-11" },
        { T("xéy"), "8:0-1 10:1-3 0:1-4" },             /* bytes overtake the unknown that waits to grow; so they do there */
    };
    check("{'added_tokens':[{'id':9,'content':'<bos>','special':true}],'normalizer':{'type':'Replace','pattern':{'String':' '},"
          "'content':'▁'},'pre_tokenizer':{'type':'Split','pattern':{'String':' '},'behavior':'MergedWithPrevious',"
          "'invert':false},'model':{'type':'BPE','unk_token':'<unk>','fuse_unk':true,'byte_fallback':true,"
          "'vocab':{'<unk>':0,'▁':1,'a':2,'b':3,'▁a':4,"
          "'ab':5,'▁▁':6,'▁ab':7,'<0xC3>':8,'<bos>':9,'<0xA9>':10},'merges':[['▁','a'],['▁','▁'],['▁a','b'],['a','b']]}}",
          cases, COUNT_OF(cases));
}

static void pairs_types_and_frames_follow_the_template(void **state)
{
    (void)state;
    struct err e;
    struct tokenizer *t = parse(wordpiece, &e);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    struct buf out = { 0 };
    struct tokens tokens = { 0 };
    encoded(t, s, S("a"), S("token"), true, &out);
    assert_string_equal(out.ptr, "0:0-0 13:0-1 1:0-0 4:0-5 1:0-0");
    assert_int_equal(tokenizer_encode(t, S("a"), S("token"), true, s, &tokens), 0);
    assert_memory_equal(tokens.types, ((uint8_t[]){ 0, 0, 0, 1, 1 }), 5);
    assert_memory_equal(tokens.is_special, ((bool[]){ true, false, true, false, true }), 5);
    encoded(t, s, S("a"), S("token"), false, &out);
    assert_string_equal(out.ptr, "13:0-1 4:0-5");
    encoded(t, s, S("a"), S(""), true, &out);           /* an empty second text is a second text */
    assert_string_equal(out.ptr, "0:0-0 13:0-1 1:0-0 1:0-0");
    struct tokenizer_frame frame = tokenizer_frame(t);
    assert_int_equal(frame.n_before, 1);
    assert_int_equal(frame.before[0], 0);
    assert_int_equal(frame.n_after, 1);
    assert_int_equal(frame.after[0], 1);
    assert_int_equal(tokenizer_vocabulary(t), 15);
    assert_int_equal(tokenizer_id(t, S("##izer")), 5);
    assert_int_equal(tokenizer_id(t, S("nobody")), -1);
    assert_true(str_eq(tokenizer_token(t, 9), S("中")));
    assert_true(str_eq(tokenizer_token(t, 15), S("")));
    buf_free(&out);
    tokenizer_scratch_free(s);
    tokenizer_close(t);
}

static void a_scratch_forgets_the_words_of_another_tokenizer(void **state)
{
    (void)state;
    struct err e;
    struct tokenizer *one = parse("{'model':{'type':'BPE','vocab':{'a':0,'b':1,'ab':2},'merges':['a b']}}", &e);
    struct tokenizer *two = parse("{'model':{'type':'BPE','vocab':{'a':5,'b':6},'merges':[]}}", &e);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    struct buf out = { 0 };
    for (int i = 0; i < 3; i++) {
        encoded(one, s, S("ab"), (str){ 0 }, true, &out);
        assert_string_equal(out.ptr, "2:0-2");
        encoded(two, s, S("ab"), (str){ 0 }, true, &out);
        assert_string_equal(out.ptr, "5:0-1 6:1-2");
    }
    buf_free(&out);
    tokenizer_scratch_free(s);
    tokenizer_close(one);
    tokenizer_close(two);
}

/* ---- BPE against its definition ---- */

static uint64_t random_state = 42;

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % n;
}

enum { RULES = 60, LETTERS = 4, TOKENS = LETTERS + RULES };

static const char *const letters[LETTERS] = { "a", "b", "c", "▁" };

struct rules { char *token[TOKENS]; int left[RULES], right[RULES], made[RULES]; int n_tokens; };

static int token_of(struct rules *r, const char *text)
{
    for (int i = 0; i < r->n_tokens; i++) {
        if (strcmp(r->token[i], text) == 0)
            return i;
    }
    r->token[r->n_tokens] = strdup(text);
    return r->n_tokens++;
}

/* `crosses`: tokens may have a "▁" inside. */
static void rules_make(struct rules *r, bool crosses)
{
    *r = (struct rules){ 0 };
    for (int i = 0; i < LETTERS; i++)
        token_of(r, letters[i]);
    for (int i = 0; i < RULES; i++) {
        char both[512];
        do {
            r->left[i] = (int)random_below((uint32_t)r->n_tokens);
            r->right[i] = (int)random_below((uint32_t)r->n_tokens);
            snprintf(both, sizeof both, "%s%s", r->token[r->left[i]], r->token[r->right[i]]);
        } while (strlen(both) > 24 || (!crosses && strstr(r->token[r->right[i]], "▁") && strcmp(r->token[r->left[i]], "▁") != 0));
        r->made[i] = token_of(r, both);
    }
}

static size_t merge_by_definition(const struct rules *r, int *ids, size_t n)
{
    for (;;) {
        int best = RULES;
        size_t where = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            for (int rule = RULES - 1; rule >= 0; rule--) {         /* the last of equal pairs has the say */
                if (r->left[rule] == ids[i] && r->right[rule] == ids[i + 1]) {
                    if (rule < best) {
                        best = rule;
                        where = i;
                    }
                    break;
                }
            }
        }
        if (best == RULES)
            return n;
        ids[where] = r->made[best];
        memmove(ids + where + 1, ids + where + 2, (n - where - 2) * sizeof *ids);
        n--;
    }
}

static void merges_happen_in_the_order_of_their_ranks(void **state)
{
    (void)state;
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    for (int round = 0; round < 40; round++) {
        struct rules rules;
        rules_make(&rules, round % 2);
        struct buf json = { 0 };
        buf_printf(&json, "{'model':{'type':'BPE','unk_token':'a','vocab':{");
        for (int i = 0; i < rules.n_tokens; i++)
            buf_printf(&json, "%s'%s':%d", i ? "," : "", rules.token[i], i);
        buf_printf(&json, "},'merges':[");
        for (int i = 0; i < RULES; i++)
            buf_printf(&json, "%s['%s','%s']", i ? "," : "", rules.token[rules.left[i]], rules.token[rules.right[i]]);
        buf_printf(&json, "]}}");
        buf_char(&json, 0);
        struct err e;
        struct tokenizer *t = parse(json.ptr, &e);
        assert_non_null(t);
        for (int text = 0; text < 30; text++) {
            int ids[200];
            char bytes[601] = "";
            size_t n = random_below(text < 20 ? 20 : 200);
            for (size_t i = 0; i < n; i++) {
                ids[i] = (int)random_below(LETTERS);
                strcat(bytes, letters[ids[i]]);
            }
            n = merge_by_definition(&rules, ids, n);
            struct tokens tokens = { 0 };
            assert_int_equal(tokenizer_encode(t, str_of(bytes), (str){ 0 }, true, s, &tokens), 0);
            assert_int_equal(tokens.n, n);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(tokens.ids[i], ids[i]);
        }
        tokenizer_close(t);
        buf_free(&json);
        for (int i = 0; i < rules.n_tokens; i++)
            free(rules.token[i]);
    }
    tokenizer_scratch_free(s);
}

/* ---- bounds ---- */

static void what_cannot_be_read_is_said_with_its_place(void **state)
{
    (void)state;
#define MODEL "'model':{'type':'BPE','vocab':{'a':0},'merges':[]}"
    static const struct { const char *json, *says; } cases[] = {
        { "", "t.json: byte 0: " },
        { "[]", "t.json: tokenizer: expected an object" },
        { "{}", "model: expected an object" },
        { "{'model':{'type':'Mamba'}}", "t.json: model: model type \"Mamba\" is not known" },
        { "{'model':{'type':'BPE'}}", "model.vocab: expected an object" },
        { "{'model':{'type':'BPE','vocab':{'a':-1},'merges':[]}}", "the number of \"a\"" },
        { "{'model':{'type':'BPE','vocab':{'a':99999999},'merges':[]}}", "the number of \"a\"" },
        { "{'model':{'type':'BPE','vocab':{'a':0},'merges':['a b']}}", "model.merges: number 0 needs \"b\"" },
        { "{'model':{'type':'BPE','vocab':{'a':0},'merges':['a']}}", "model.merges: number 0 is not a pair" },
        { "{'model':{'type':'BPE','vocab':{'a':0},'merges':[['a','a','a']]}}", "model.merges: number 0 is not a pair" },
        { "{'model':{'type':'BPE','vocab':{'a':0},'merges':[],'unk_token':'u'}}", "model.unk_token: \"u\"" },
        { "{'model':{'type':'WordPiece','vocab':{'a':0}}}", "model.unk_token" },
        { "{'model':{'type':'Unigram','vocab':[['a']]}}", "model.vocab: number 0 is not a pair" },
        { "{'model':{'type':'Unigram','vocab':[['a',1e999]]}}", "model.vocab: number 0" },
        { "{'model':{'type':'Unigram','vocab':[['a',1]],'unk_id':7}}", "model.unk_id" },
        { "{'normalizer':{'type':'Rot13'}," MODEL "}", "t.json: normalizer: normalizer type \"Rot13\" is not known" },
        { "{'normalizer':{'type':'Sequence','normalizers':[{'type':'NFC'},{'type':'X'}]}," MODEL "}",
          "normalizer.normalizers[1]: " },
        { "{'normalizer':{'type':'Precompiled','precompiled_charsmap':'?'}," MODEL "}", "precompiled_charsmap" },
        { "{'normalizer':{'type':'Precompiled','precompiled_charsmap':'/////w=='}," MODEL "}", "precompiled_charsmap" },
        { "{'normalizer':{'type':'Replace','pattern':{'Regex':'(a'},'content':''}," MODEL "}",
          "normalizer: regular expression \"(a\"" },
        { "{'pre_tokenizer':{'type':'X'}," MODEL "}", "pre_tokenizer: pre-tokenizer type \"X\" is not known" },
        { "{'pre_tokenizer':{'type':'Split','pattern':{'String':'a'},'behavior':'Maybe'}," MODEL "}", "behavior \"Maybe\"" },
        { "{'pre_tokenizer':{'type':'Split','pattern':'a','behavior':'Removed'}," MODEL "}", "expected {\"String\"" },
        { "{'post_processor':{'type':'X'}," MODEL "}", "post_processor: post-processor type \"X\" is not known" },
        { "{'post_processor':{'type':'BertProcessing','sep':['a',-1]}," MODEL "}", "post_processor: cls" },
        { "{'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'a'}}],'pair':[]}," MODEL "}",
          "special_tokens" },
        { "{'added_tokens':[{'content':'a','id':-3}]," MODEL "}", "added_tokens: " },
        { "{'added_tokens':[{'id':3}]," MODEL "}", "added_tokens: " },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e;
        struct tokenizer *t = parse(cases[i].json, &e);
        if (t || !strstr(e.text, cases[i].says))
            fail_msg("%s: \"%s\"", cases[i].json, t ? "accepted" : e.text);
    }
    struct err e = { 0 };
    assert_null(tokenizer_open("/nonexistent/tokenizer.json", &e));
    assert_non_null(strstr(e.text, "/nonexistent/tokenizer.json"));
}

static void replacements_that_explode_are_stopped(void **state)
{
    (void)state;
    struct buf json = { 0 };
    buf_printf(&json, "{'normalizer':{'type':'Sequence','normalizers':[");
    for (int i = 0; i < 8; i++)
        buf_printf(&json, "%s{'type':'Replace','pattern':{'String':'a'},'content':'aaaaaaaaaaaaaaaa'}", i ? "," : "");
    buf_printf(&json, "]}," MODEL "}");
    buf_char(&json, 0);
    struct err e;
    struct tokenizer *t = parse(json.ptr, &e);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    struct tokens tokens = { 0 };
    assert_int_equal(tokenizer_encode(t, S("a"), (str){ 0 }, true, s, &tokens), -1);
    assert_int_equal(tokenizer_encode(t, S(""), (str){ 0 }, true, s, &tokens), 0);      /* and all is well again */
    buf_free(&json);
    tokenizer_scratch_free(s);
    tokenizer_close(t);
}

static void a_steady_state_allocates_nothing(void **state)
{
    (void)state;
    if (WITH_ASAN)
        skip();                                         /* its allocator keeps no such count */
    struct err e;
    struct tokenizer *t = parse(wordpiece, &e);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    struct tokens tokens = { 0 };
    str texts[] = { S("Tokenizers café! 中 [MASK] aaaa"), S("e\u0301e\u0301e\u0301 \xff token aa"), S("a") };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        tokenizer_encode(t, texts[i], texts[i], true, s, &tokens);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 1000; i++)
        tokenizer_encode(t, texts[i % 3], texts[i % 2], true, s, &tokens);
    assert_int_equal(mallinfo2().uordblks, before);
    tokenizer_scratch_free(s);
    tokenizer_close(t);
}

static void ten_megabytes_are_one_text_among_others(void **state)
{
    (void)state;
    size_t n = 10 << 20;
    char *bytes = malloc(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = "token a! "[i % 9];
    struct err e;
    struct tokenizer *t = parse(wordpiece, &e);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    struct tokens tokens = { 0 };
    assert_int_equal(tokenizer_encode(t, (str){ bytes, n }, (str){ 0 }, false, s, &tokens), 0);
    assert_int_equal(tokens.n, n / 9 * 3 + 1);      /* at last "toke", unknown */
    struct buf out = { 0 };
    encoded(t, s, S("a"), (str){ 0 }, false, &out);
    assert_string_equal(out.ptr, "13:0-1");
    memset(bytes, 'a', n);                              /* one word */
    assert_int_equal(tokenizer_encode(t, (str){ bytes, n }, (str){ 0 }, false, s, &tokens), 0);
    assert_int_equal(tokens.n, 1);
    assert_int_equal(tokenizer_encode(t, (str){ bytes, (size_t)TOKENIZER_TEXT_MAX + 1 }, (str){ 0 }, false, s, &tokens), -1);
    buf_free(&out);
    free(bytes);
    tokenizer_scratch_free(s);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wordpiece_keeps_the_places_of_a_normalised_text),
        cmocka_unit_test(broken_bytes_count_as_one_replacement_for_each_maximal_subpart),
        cmocka_unit_test(byte_level_offsets_lose_their_blanks),
        cmocka_unit_test(unigram_takes_the_best_path_and_fuses_what_is_unknown),
        cmocka_unit_test(gemma_falls_back_on_bytes),
        cmocka_unit_test(pairs_types_and_frames_follow_the_template),
        cmocka_unit_test(a_scratch_forgets_the_words_of_another_tokenizer),
        cmocka_unit_test(merges_happen_in_the_order_of_their_ranks),
        cmocka_unit_test(what_cannot_be_read_is_said_with_its_place),
        cmocka_unit_test(replacements_that_explode_are_stopped),
        cmocka_unit_test(a_steady_state_allocates_nothing),
        cmocka_unit_test(ten_megabytes_are_one_text_among_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
