// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// What one reading of a file gathers: complaints, names that were given and names that were referred to.
struct Reader {
    let file: String
    let surroundings: Surroundings
    private(set) var complaints: [Complaint] = []
    /// Where the reader is, from the root.
    private var path: [PathComponent] = []
    private var claims: [Claim: Position] = [:]
    private var references: [Reference] = []
    private var upstreams: [String] = []
    private var redisReferences: [Reference] = []

    private struct Claim: Hashable {
        var kind: String
        var value: AnyHashable
    }

    private struct Reference {
        var name: String
        var position: Position
        var path: [PathComponent]
    }

    init(file: String, surroundings: Surroundings) {
        self.file = file
        self.surroundings = surroundings
    }

    /// Adds a complaint about the value that is being read.
    mutating func complain(at position: Position, _ message: String) {
        let place = path.dotted
        complaints.append(Complaint(file: file, position: position, message: place.isEmpty ? message : place + ": " + message))
    }

    /// Reads what is below the current value.
    mutating func at<Result>(_ component: PathComponent, _ read: (inout Reader) -> Result) -> Result {
        path.append(component)
        defer { path.removeLast() }
        return read(&self)
    }

    /// Notes that a value which must be unique among its kind is used here, or complains that it already is.
    mutating func claim(_ kind: String, _ value: some Hashable, at position: Position) {
        let claim = Claim(kind: kind, value: AnyHashable(value))
        if let earlier = claims[claim] {
            complain(at: position, "the same \(kind) stands on line \(earlier.line) already")
        } else {
            claims[claim] = position
        }
    }

    /// Notes that the file defines an upstream of this name, be it readable or not.
    mutating func define(upstream name: String) { upstreams.append(name) }

    /// Notes that an upstream of this name must exist.
    mutating func refer(toUpstream name: String, at position: Position) {
        references.append(Reference(name: name, position: position, path: path))
    }

    /// Notes that the file must have the key `redis`.
    mutating func referToRedis(at position: Position) {
        redisReferences.append(Reference(name: "redis", position: position, path: path))
    }

    /// Complains about whoever needs it: the file has none.
    mutating func complainAboutMissingRedis() {
        let here = path
        for reference in redisReferences {
            path = reference.path
            complain(at: reference.position, "there is no redis at the top of the file, which says where it is")
        }
        path = here
    }

    /// Complains about each reference to an upstream that the file does not define.
    mutating func resolveReferences() {
        let names = upstreams
        let known = Set(names)
        for reference in references where !known.contains(reference.name) {
            path = reference.path
            var message = "there is no upstream \(quoted(reference.name))"
            if let nearest = nearestName(to: reference.name, among: names) {
                message += "; did you mean \(quoted(nearest))?"
            } else {
                message += names.isEmpty ? "; none is defined" : "; defined are \(names.prefix(10).joined(separator: ", "))"
            }
            complain(at: reference.position, message)
        }
        path = []
    }

    /// A path as the file means it: relative ones start at the file's folder.
    func resolved(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let slash = file.lastIndex(of: "/") else { return path }
        return file[...slash] + path
    }
}
