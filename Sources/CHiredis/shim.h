// Holdfast
// SPDX-License-Identifier: Apache-2.0

#pragma once
// Its reader and its formatter alone: connections are our own.
#include <hiredis/hiredis.h>
