// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// `docs/configuration.md`: every key with its value, default and purpose, from the same declarations as the parser.
    public static func referenceMarkdown() -> String {
        guard case .object(let root) = table.shape(Configuration()) else { return "" }
        return ReferencePage.introduction + root.descendants.map(ReferencePage.section).joined(separator: "\n")
    }
}

private enum ReferencePage {
    static let introduction = """
        # Configuration reference

        <!-- Made by `HOLDFAST_UPDATE=1 swift test --filter ConfigurationTests` from Sources/Configuration/Declarations: change it there. -->

        One YAML file says what a gateway fronts. [config/minimal.yaml](../config/minimal.yaml) is the least that runs,
        [config/edge.yaml](../config/edge.yaml) has every key with a comment, and [config/schema.json](../config/schema.json) (also
        `holdfast schema`) gives an editor completion. `holdfast check FILE` names everything that is wrong, all at once, as
        `file:line:column: what is wrong; what was expected`, and warns of what will not hold, with the arithmetic.

        | written | means |
        | --- | --- |
        | `250ms`, `1.5s`, `10m` | a duration; units `ns`, `us`, `ms`, `s`, `m`, `h`; a unit is always needed |
        | `64KiB`, `1MB`, `500B` | a size; `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024, `KB`, `MB`, `GB`, `TB` of 1000; a unit is always needed |
        | `3/second`, `5/minute`, `100/hour` | a rate |
        | `20%`, `0.5%` | a share, to a hundredth of a per cent |
        | `off` | no such thing, where the table allows it |
        | `{ file: … }`, `{ env: … }` | a secret: where it is, never what it is |

        Relative paths start at the folder of the configuration file. Anchors (`&name`), aliases (`*name`) and merges
        (`<<: *name`) work, and top-level keys that begin with `x-` are left alone as a place for them. A key that
        stands twice, an unknown key and a second document are errors.


        """

    static func section(_ object: ObjectShape) -> String {
        var text = "## \(object.name)\n\n\(object.documentation)"
        if !object.exactlyOne.isEmpty {
            text += " Exactly one of " + object.exactlyOne.map { "`\($0)`" }.joined(separator: ", ") + " is needed."
        }
        text += "\n\n| key | value | default | what it is for |\n| --- | --- | --- | --- |\n"
        for row in object.rows {
            text += "| `\(row.key)` | \(cell(row.shape.meaning)) | \(cell(defaultCell(row))) | \(cell(row.documentation)) |\n"
        }
        return text
    }

    private static func defaultCell(_ row: ObjectShape.Row) -> String {
        if row.isRequired { return "**needed**" }
        switch row.initial {
        case .written(let text): return "`\(text)`"
        case .told(let words): return words
        case nil: return "–"
        }
    }

    /// A bar would end the cell.
    private static func cell(_ text: String) -> String { String(text.flatMap { $0 == "|" ? "\\|" : String($0) }) }
}
