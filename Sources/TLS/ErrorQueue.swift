// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// OpenSSL's error queue of this thread: emptied before each call and read right after, so that one connection's failure
/// never shows up in another's (D01).
enum ErrorQueue {
    @inline(__always) static func clear() { ERR_clear_error() }

    /// The library and reason of the oldest entry, which is the cause; later entries say where it was noticed.
    static var first: (library: Int32, reason: Int32) { split(ERR_peek_error()) }

    /// The library and reason of the newest entry.
    static var last: (library: Int32, reason: Int32) { split(ERR_peek_last_error()) }

    private static func split(_ code: UInt) -> (library: Int32, reason: Int32) {
        (Int32(truncatingIfNeeded: (code >> 23) & 0xFF), Int32(truncatingIfNeeded: code & 0x7F_FFFF))
    }

    /// The oldest entry in words, with OpenSSL's data where it has some; empties the queue.
    static func take() -> String {
        var data: UnsafePointer<CChar>?
        var flags: Int32 = 0
        let code = unsafe ERR_get_error_all(nil, nil, nil, &data, &flags)
        defer { clear() }
        guard code != 0 else { return "no reason given" }
        var text =
            if let reason = unsafe ERR_reason_error_string(code) { unsafe String(cString: reason) } else { "error \(code)" }
        if flags & ERR_TXT_STRING != 0, let data = unsafe data, unsafe data.pointee != 0 {
            unsafe text += ": \(String(cString: data))"
        }
        return text
    }
}
