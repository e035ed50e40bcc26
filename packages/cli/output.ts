/** Where commands write: what was asked for on standard output, everything else on standard error. */
export interface Output {
  /** `--json`: standard output holds JSON and nothing else. */
  readonly json: boolean;
  /** The answer of a command: JSON, or the lines that `text` gives. */
  answer(value: object, text: () => string[]): void;
  /** Progress and notes. */
  note(line: string): void;
}

export const outputTo = (json: boolean, out: NodeJS.WritableStream, notes: NodeJS.WritableStream): Output => ({
  json,
  answer: (value, text) => {
    const lines = json ? [JSON.stringify(value)] : text();
    for (const line of lines) out.write(`${line}\n`);
  },
  note: (line) => {
    notes.write(`${line}\n`);
  },
});

/** Rows with their columns aligned. */
export const table = (rows: readonly (readonly string[])[]): string[] => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
};
