// Holdfast
// SPDX-License-Identifier: Apache-2.0

#pragma once
// First, as a module: ares.h includes the same headers of the system, and what both declare would else belong to either.
#include "../CLinux/shim.h"
#include <ares.h>
