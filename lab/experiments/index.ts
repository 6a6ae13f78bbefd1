/** All experiments, in the article's order. */
import type { AnyExperiment } from "../experiment.ts";
import adversaries from "./adversaries.ts";
import backpropagation from "./backpropagation.ts";
import clipping from "./clipping.ts";
import coasting from "./coasting.ts";
import criticalPoints from "./critical-points.ts";
import curriculum from "./curriculum.ts";
import definitionOfTheDerivative from "./definition-of-the-derivative.ts";
import directionalDerivative from "./directional-derivative.ts";
import evolution from "./evolution.ts";
import evolutionStrategies from "./evolution-strategies.ts";
import explodingRnn from "./exploding-rnn.ts";
import featureScaling from "./feature-scaling.ts";
import fisherTraining from "./fisher-training.ts";
import gradientConfusion from "./gradient-confusion.ts";
import gradientFlow from "./gradient-flow.ts";
import gradientPenalty from "./gradient-penalty.ts";
import landscape from "./landscape.ts";
import linearLayer from "./linear-layer.ts";
import linearRegression from "./linear-regression.ts";
import logisticPull from "./logistic-pull.ts";
import longRange from "./long-range.ts";
import momentumEscape from "./momentum-escape.ts";
import naturalGradient from "./natural-gradient.ts";
import nearSaddle from "./near-saddle.ts";
import race from "./race.ts";
import ravine from "./ravine.ts";
import residualVsPlain from "./residual-vs-plain.ts";
import saddleEscape from "./saddle-escape.ts";
import saliency from "./saliency.ts";
import sigmoid from "./sigmoid.ts";
import vanishing from "./vanishing.ts";
import weightsVsBiases from "./weights-vs-biases.ts";

export const experiments: readonly AnyExperiment[] = [
  definitionOfTheDerivative,
  linearRegression,
  directionalDerivative,
  backpropagation,
  logisticPull,
  linearLayer,
  sigmoid,
  vanishing,
  explodingRnn,
  clipping,
  longRange,
  criticalPoints,
  nearSaddle,
  saddleEscape,
  landscape,
  ravine,
  race,
  featureScaling,
  gradientConfusion,
  curriculum,
  weightsVsBiases,
  gradientFlow,
  momentumEscape,
  coasting,
  naturalGradient,
  fisherTraining,
  saliency,
  gradientPenalty,
  adversaries,
  residualVsPlain,
  evolution,
  evolutionStrategies,
];
