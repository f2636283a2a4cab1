// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Whether a file is there. It asks the kernel, which answers from memory: for once a second, not for each request.
enum FileSight {
    static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }
}
