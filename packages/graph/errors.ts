/** A graph that cannot be built, differentiated or read as asked. Never worth a retry with the same graph. */
export class GraphError extends Error {
  override readonly name: string = 'GraphError';
}

/** A node that its operator cannot take, or an operator that this library does not know. */
export class NodeError extends GraphError {
  override readonly name = 'NodeError';

  constructor(operator: string, node: string, model: string, cause: unknown) {
    super(`${operator} node "${node}" of model "${model}": ${(cause as Error).message}`, { cause });
  }
}

/** The differentiator met an operator that it has no gradient rule for. */
export class NoGradientError extends GraphError {
  override readonly name = 'NoGradientError';
  readonly operator: string;
  readonly node: string;
  readonly model: string;

  constructor(operator: string, node: string, model: string) {
    super(
      `operator ${operator} has no gradient rule (node "${node}" of model "${model}"): ` +
        'build this part from differentiable operators, or keep it out of the path from parameters to loss',
    );
    this.operator = operator;
    this.node = node;
    this.model = model;
  }
}

/** A training step whose loss or gradients are not finite. It was not taken: the training's state is as before it. */
export class DivergedError extends GraphError {
  override readonly name = 'DivergedError';
  /** The step that was not taken, counted from 1. */
  readonly step: number;

  constructor(step: number, loss: number, gradientNorm: number) {
    super(
      `step ${step} was not taken, because its loss is ${loss} and the norm of its gradients ${gradientNorm}: ` +
        `the state is that after step ${step - 1}; try a smaller learning rate, or clip the gradients`,
    );
    this.step = step;
  }
}
