// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CLinux
package import Core
import Glibc

extension Draw {
    /// With a seed from the kernel: for a process that serves.
    package static func seededByKernel() -> Draw {
        var seed: UInt64 = 0
        // Eight bytes never come short once the kernel's pool is ready (getrandom(2)); 0 is a seed like any other.
        _ = unsafe getrandom(&seed, 8, 0)
        return Draw(seed: seed)
    }
}
