//! SQL text to a graph, on DataFusion's parser, planner and optimizer.
