// Holdfast
// SPDX-License-Identifier: Apache-2.0

#pragma once
#include <zlib.h>

// Both are macros, which Swift does not import.
static inline int holdfast_deflateInit2(z_streamp stream, int level, int windowBits, int memoryLevel) {
    return deflateInit2(stream, level, Z_DEFLATED, windowBits, memoryLevel, Z_DEFAULT_STRATEGY);
}
static inline int holdfast_inflateInit2(z_streamp stream, int windowBits) { return inflateInit2(stream, windowBits); }
