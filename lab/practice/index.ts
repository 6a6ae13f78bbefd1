/** All exercises, in the article's order. */
import backpropagateByHand from "./backpropagate-by-hand.ts";
import clipAnRnn from "./clip-an-rnn.ts";
import conditionARavine from "./condition-a-ravine.ts";
import criticalDamping from "./critical-damping.ts";
import deriveAPartial from "./derive-a-partial.ts";
import escapeDirection from "./escape-direction.ts";
import type { Exercise } from "./exercise.ts";
import fisherInformation from "./fisher-information.ts";
import integrateTheFlow from "./integrate-the-flow.ts";
import integratedGradients from "./integrated-gradients.ts";
import logisticGradient from "./logistic-gradient.ts";
import measureConfusion from "./measure-confusion.ts";
import naturalStep from "./natural-step.ts";
import preserveTheGradient from "./preserve-the-gradient.ts";
import reorderACurriculum from "./reorder-a-curriculum.ts";
import writeGradcheck from "./write-gradcheck.ts";

export const exercises: readonly Exercise[] = [
  deriveAPartial,
  writeGradcheck,
  logisticGradient,
  backpropagateByHand,
  preserveTheGradient,
  clipAnRnn,
  escapeDirection,
  conditionARavine,
  measureConfusion,
  reorderACurriculum,
  integrateTheFlow,
  criticalDamping,
  fisherInformation,
  naturalStep,
  integratedGradients,
];
