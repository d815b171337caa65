/* neural/kernel_tile.h -- the AMX instructions we use. gcc 12's intrinsics do not tell the compiler what they read; these do. */
#ifndef SBX_KERNEL_TILE_H
#define SBX_KERNEL_TILE_H

#include "neural/kernel_set.h"

struct tile_config {                                /* as LDTILECFG reads it */
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Every tile is full: rows beyond the last are computed from whatever is there, and never looked at. */
static const struct tile_config full_tiles = {
    .palette = 1,
    .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 },
    .rows = { 16, 16, 16, 16, 16, 16, 16, 16 },
};

#define TILES_BEGIN() __asm__ volatile("ldtilecfg %0" : : "m"(full_tiles))
#define TILES_END() __asm__ volatile("tilerelease")
#define TILE_LOAD(t, from, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"(from), "r"((size_t)(stride)) : "memory")
#define TILE_STORE(t, to, stride) \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"(to), "r"((size_t)(stride)) : "memory")
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define TILE_INT8(sum, a, b) __asm__ volatile("tdpbssd %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)
#define TILE_BF16(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)

#endif
