/** One after the other, in the order in which it was asked for: what fails does not keep back what comes next. */
export class InTurn {
  #last: Promise<unknown> = Promise.resolve();

  /** @returns what `work` gives, or rejects as it does */
  do<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => {}); // the caller has the error
    return result;
  }
}
