/** The settings that a user of the playground can choose. The page and the worker share this file. */

export const ACTIVATIONS = ["sigmoid", "tanh", "ReLU", "leaky ReLU", "GELU"] as const;
export const INITS = ["too small", "Xavier", "He", "too large", "large biases"] as const;
export const OPTIMIZERS = ["SGD", "momentum", "Adam", "RMSProp"] as const;
export const METHODS = ["gradient × input", "integrated gradients", "SmoothGrad"] as const;
export const ATTACKS = ["FGSM", "PGD"] as const;

/** The menu's label for each initialization. */
export const INIT_LABELS: Readonly<Record<Init, string>> = {
  "too small": "too small (Xavier ÷ 5)",
  Xavier: "Xavier",
  He: "He",
  "too large": "too large (Xavier × 5)",
  "large biases": "large biases (std 5)",
};

export type Activation = (typeof ACTIVATIONS)[number];
export type Init = (typeof INITS)[number];
export type OptimizerName = (typeof OPTIMIZERS)[number];
export type Method = (typeof METHODS)[number];
export type AttackName = (typeof ATTACKS)[number];

export const LAYERS = [1, 2, 3, 4, 5, 6, 7, 8] as const;
export const WIDTHS = [8, 16, 32, 64, 128] as const;
export const RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1] as const;
/** ε: 0, 0.01 … 0.3. */
export const EPSILONS = Array.from({ length: 31 }, (_, i) => i / 100);

/** The settings of a network and of its training. */
export interface Settings {
  /** The number of hidden layers. */
  readonly layers: number;
  /** The number of units in each hidden layer. */
  readonly width: number;
  readonly activation: Activation;
  readonly init: Init;
  readonly optimizer: OptimizerName;
  readonly lr: number;
}

/** The choices of how to explain the network's answer, and how to attack it. */
export interface Question {
  readonly method: Method;
  /** The digit whose score is explained; undefined means the network's answer. */
  readonly target: number | undefined;
  readonly attack: AttackName;
  /** The largest change to a pixel, from 0 (none) to 1 (from paper to ink). */
  readonly epsilon: number;
}

export const QUESTION: Question = { method: "gradient × input", target: undefined, attack: "FGSM", epsilon: 0.1 };

/** A learning rate that works well for each optimizer on these networks. */
export const USUAL_RATES: Readonly<Record<OptimizerName, number>> = {
  SGD: 0.1,
  momentum: 0.03,
  Adam: 1e-3,
  RMSProp: 1e-3,
};

/** Examples of settings. The first one is the default. */
export const PRESETS: Readonly<Record<string, Settings>> = {
  healthy: { layers: 3, width: 64, activation: "ReLU", init: "He", optimizer: "SGD", lr: 0.1 },
  vanishing: { layers: 6, width: 64, activation: "sigmoid", init: "Xavier", optimizer: "SGD", lr: 0.1 },
  saturated: { layers: 6, width: 64, activation: "tanh", init: "large biases", optimizer: "SGD", lr: 0.1 },
  exploding: { layers: 6, width: 64, activation: "ReLU", init: "too large", optimizer: "SGD", lr: 0.01 },
  "too fast": { layers: 3, width: 64, activation: "ReLU", init: "He", optimizer: "SGD", lr: 1 },
};
