/** What gradients tell, of any model and loss: the library's second face, `nabla/gradients`. */
export { Objective, objective, type Point } from "./objective.ts";
export type { Vector } from "./vector.ts";
