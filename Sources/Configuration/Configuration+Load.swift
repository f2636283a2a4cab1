// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// A configuration that can be run, and what may not hold in it.
    public struct Loaded: Equatable, Sendable {
        public var configuration: Configuration
        /// In the order of the file.
        public var warnings: [Complaint]
    }

    /// Reads, validates and lints a file.
    ///
    /// Every complaint is found in one go, so that a file is mended in one. Files that it names are opened to see whether
    /// they can be read, environment variables looked up; their contents stay where they are.
    public static func load(path: String, surroundings: Surroundings = .system) throws(ConfigurationErrors) -> Loaded {
        let bytes: [UInt8]
        do throws(FileProblem) {
            bytes = try FileReading.contents(of: path, atMost: YAMLComposer.maximumBytes + 1)
        } catch {
            throw ConfigurationErrors([Complaint(file: path, position: nil, message: "cannot be read: \(error)")])
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationErrors([Complaint(file: path, position: nil, message: "is not text in UTF-8")])
        }
        return try parse(text: text, file: path, surroundings: surroundings)
    }

    /// The same for text at hand; `file` is what complaints call it, and relative paths start at its folder.
    public static func parse(text: String, file: String, surroundings: Surroundings = .system) throws(ConfigurationErrors) -> Loaded
    {
        var composer = YAMLComposer(file: file)
        guard let root = composer.compose(text) else { throw ConfigurationErrors(composer.complaints) }
        guard !root.isNull else {
            throw ConfigurationErrors([
                Complaint(file: file, position: Position(line: 1, column: 1), message: YAMLComposer.emptyMessage)
            ])
        }
        var reader = Reader(file: file, surroundings: surroundings)
        let configuration = table.read(root, &reader, from: Configuration())
        reader.resolveReferences()
        guard let configuration, reader.complaints.isEmpty else { throw ConfigurationErrors(reader.complaints) }
        return Loaded(configuration: configuration, warnings: Lint(file: file, root: root).warnings(for: configuration).inOrder)
    }
}
