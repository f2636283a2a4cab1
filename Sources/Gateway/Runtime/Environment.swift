// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The process's environment: where a secret may be named.
enum Environment {
    static func value(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }
}
