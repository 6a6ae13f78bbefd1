/** Groups experiments by section, in the article's order. */
import type { AnyExperiment } from "./experiment.ts";

export function bySection(experiments: readonly AnyExperiment[]): Map<string, AnyExperiment[]> {
  const sections = new Map<string, AnyExperiment[]>();
  for (const experiment of experiments)
    sections.set(experiment.section, [...(sections.get(experiment.section) ?? []), experiment]);
  return sections;
}
