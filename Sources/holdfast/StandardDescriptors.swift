// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Sees that descriptors 0, 1 and 2 are taken. A process that is started without them would otherwise give their numbers to
/// its first sockets, and write its log into them.
enum StandardDescriptors {
    /// Before anything else is opened.
    static func fill() {
        for descriptor in Int32(0)...2 where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
            // The lowest free number is this one, since those below are taken.
            _ = unsafe open("/dev/null", descriptor == 0 ? O_RDONLY : O_WRONLY)
        }
    }
}
