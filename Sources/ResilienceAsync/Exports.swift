// Holdfast
// SPDX-License-Identifier: Apache-2.0

// Whoever imports ResilienceAsync writes settings, reasons and outcomes: one import is enough.
@_exported public import Core
@_exported public import Resilience
