// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Why settings cannot be turned into a context: one sentence that names the file or the word at fault.
package struct TLSConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file it is about, if it is about one.
    package var file: String?
    /// A whole sentence, file included, without a full stop.
    package var message: String

    package init(file: String? = nil, _ message: String) {
        self.file = file
        self.message = message
    }

    package var description: String { message }
}
