//! What is proven, as constraints on a table: 64 rows of one permutation each.
//!
//! | row | permutes | its output is |
//! |---|---|---|
//! | 0 | secret, tag of nullifiers; context | the public nullifier |
//! | 1 | the same secret, tag of leaves; attributes | the leaf |
//! | 2 to 63 | the node below, and its sibling | the node above, in the end the public root |
//!
//! A row holds a permutation's input, its state after every full round but the last, and the one element
//! that a partial round's S-box changes: the rest is linear in these. No column holds the output: it is of
//! degree 3 in the state before the last round. The last column says on which side of its sibling the node
//! below goes into the row. In row 0, where no node does, it is 2, which is how the constraints know the row:
//! no column counts rows, and no prover can shift them.
//!
//! All constraints are of degree 4 at most, so that the quotient has eight chunks.

use super::hash::{LEAF_TAG, NODE, NULLIFIER_TAG, Node, SECRET, Secret, WIDTH};
use super::statement::Statement;
use p3_air::{Air, AirBuilder, BaseAir, WindowAccess};
use p3_field::Algebra;
use p3_field::integers::QuotientMap;
use p3_koala_bear::{
    GenericPoseidon2LinearLayersKoalaBear as Linear,
    KOALABEAR_POSEIDON2_RC_16_EXTERNAL_FINAL as FINAL,
    KOALABEAR_POSEIDON2_RC_16_EXTERNAL_INITIAL as INITIAL,
    KOALABEAR_POSEIDON2_RC_16_INTERNAL as INTERNAL, KoalaBear,
};
use p3_matrix::dense::RowMajorMatrix;
use p3_poseidon2::GenericPoseidon2LinearLayers;
use std::array;

/// Levels of every tree as the circuit sees it. A lower tree is lifted: its root is the left child of a node
/// whose right child is [`Node::ZERO`], and so on.
pub const DEPTH: usize = 62;
/// Rows of the table.
pub const ROWS: usize = DEPTH + 2;
/// Columns of the table: input, state after rounds, side.
pub const COLUMNS: usize = SIDE + 1;
/// Public inputs: root, context, nullifier.
pub const PUBLIC: usize = 3 * NODE;
/// The highest degree of a constraint.
pub const DEGREE: usize = 4;
/// Number of constraints.
pub const CONSTRAINTS: usize = STATES + (2 + 2 * NODE) + (SECRET + 2) + (1 + NODE) + NODE;

/// Columns of the states after rounds.
const STATES: usize = (INITIAL.len() + FINAL.len() - 1) * WIDTH + INTERNAL.len();
/// The column of the side: 0 where the node below is the left child, 1 where it is the right; 2 in row 0.
const SIDE: usize = WIDTH + STATES;
const FIRST: u32 = 2;

/// The permutation with feed-forward, over values or over polynomials. `cell` sees every state that has a
/// column, in the order of the columns, and may put another expression of the same value in its place.
fn compress<R: Algebra<KoalaBear>>(input: &[R; WIDTH], mut cell: impl FnMut(&mut R)) -> [R; NODE] {
    let mut state = input.clone();
    Linear::external_linear_layer(&mut state);
    for constants in &INITIAL {
        full_round(&mut state, constants);
        state.iter_mut().for_each(&mut cell);
    }
    for constant in INTERNAL {
        state[0] += constant;
        state[0] = state[0].cube();
        cell(&mut state[0]);
        Linear::internal_linear_layer(&mut state);
    }
    let [rounds @ .., last] = &FINAL;
    for constants in rounds {
        full_round(&mut state, constants);
        state.iter_mut().for_each(&mut cell);
    }
    full_round(&mut state, last);
    array::from_fn(|i| state[i].clone() + input[i].clone())
}

fn full_round<R: Algebra<KoalaBear>>(state: &mut [R; WIDTH], constants: &[KoalaBear; WIDTH]) {
    for (element, &constant) in state.iter_mut().zip(constants) {
        *element += constant;
        *element = element.cube();
    }
    Linear::external_linear_layer(state);
}

/// The constraints.
#[derive(Clone, Copy, Debug)]
pub struct Circuit;

impl BaseAir<KoalaBear> for Circuit {
    fn width(&self) -> usize {
        COLUMNS
    }

    fn num_public_values(&self) -> usize {
        PUBLIC
    }

    fn num_constraints(&self) -> Option<usize> {
        Some(CONSTRAINTS)
    }

    fn max_constraint_degree(&self) -> Option<usize> {
        Some(DEGREE)
    }
}

impl<B: AirBuilder<F = KoalaBear>> Air<B> for Circuit {
    fn eval(&self, builder: &mut B) {
        let window = builder.main();
        let (row, next) = (window.current_slice(), window.next_slice());
        let constant = |n: u32| B::Expr::from(KoalaBear::from_int(n));
        let input: [B::Expr; WIDTH] = array::from_fn(|i| row[i].into());
        let public: [B::Expr; PUBLIC] = array::from_fn(|i| builder.public_values()[i].into());
        let [root, context, nullifier] = array::from_fn(|k| &public[k * NODE..][..NODE]);

        // Every row is a permutation.
        let mut columns = row[WIDTH..].iter();
        let output = compress(&input, |state| {
            if let Some(&column) = columns.next() {
                builder.assert_eq(state.clone(), column);
                *state = column.into();
            }
        });

        // Row 0: the nullifier of the secret in this context.
        let mut first = builder.when_first_row();
        first.assert_eq(row[SIDE], constant(FIRST));
        first.assert_eq(row[SECRET], constant(NULLIFIER_TAG));
        for i in 0..NODE {
            first.assert_eq(row[NODE + i], context[i].clone());
            first.assert_eq(output[i].clone(), nullifier[i].clone());
        }

        // Row 1: the leaf of the same secret. Its side says nothing, and is 0.
        for i in 0..SECRET {
            first.assert_eq(next[i], row[i]);
        }
        first.assert_eq(next[SECRET], constant(LEAF_TAG));
        first.assert_zero(next[SIDE]);

        // Every row after row 1: the output before it is the child on its side.
        let mut transition = builder.when_transition();
        transition.assert_bool(next[SIDE]);
        let after_leaf = constant(FIRST) - row[SIDE];
        for i in 0..NODE {
            let (left, right) = (next[i], next[NODE + i]);
            let child = (right - left) * next[SIDE] + left;
            transition.assert_zero(after_leaf.clone() * (child - output[i].clone()));
        }

        // The last row: the root.
        let mut last = builder.when_last_row();
        for i in 0..NODE {
            last.assert_eq(output[i].clone(), root[i].clone());
        }
    }
}

/// The public inputs, in the circuit's order.
pub fn public_values(statement: &Statement) -> [KoalaBear; PUBLIC] {
    let Statement { root, context, nullifier } = statement;
    let nodes = [root.0, context.0, nullifier.0];
    array::from_fn(|i| nodes[i / NODE][i % NODE])
}

/// The table of a secret with `attributes` in `context`, whose leaf is number `index` of a tree, under
/// `siblings` from the leaf upward; and what it proves. `siblings` beyond [`DEPTH`] are not looked at.
pub(super) fn trace(
    secret: &Secret,
    attributes: &Node,
    context: &Node,
    index: u64,
    siblings: &[Node],
) -> (RowMajorMatrix<KoalaBear>, Statement) {
    trace_of(DEPTH, secret, attributes, context, index, siblings)
}

/// The same of a tree of so many levels.
pub(super) fn trace_of(
    levels: usize,
    secret: &Secret,
    attributes: &Node,
    context: &Node,
    index: u64,
    siblings: &[Node],
) -> (RowMajorMatrix<KoalaBear>, Statement) {
    let mut values = Vec::with_capacity((levels + 2) * COLUMNS);
    let mut row = |left: &Node, right: &Node, side: u32| {
        let input = array::from_fn(|i| if i < NODE { left.0[i] } else { right.0[i - NODE] });
        values.extend(input);
        let output = compress(&input, |state| values.push(*state));
        values.push(KoalaBear::from_int(side));
        Node(output)
    };
    let tagged = |tag| {
        let secret = secret.elements();
        Node(array::from_fn(|i| secret.get(i).copied().unwrap_or(KoalaBear::from_int(tag))))
    };
    let nullifier = row(&tagged(NULLIFIER_TAG), context, FIRST);
    let mut node = row(&tagged(LEAF_TAG), attributes, 0);
    for level in 0..levels {
        let sibling = siblings.get(level).unwrap_or(&Node::ZERO);
        let side = index.checked_shr(level as u32).unwrap_or(0) & 1;
        node = match side {
            0 => row(&node, sibling, 0),
            _ => row(sibling, &node, 1),
        };
    }
    let statement = Statement { root: node, context: *context, nullifier };
    (RowMajorMatrix::new(values, COLUMNS), statement)
}

#[cfg(test)]
mod tests {
    use super::super::hash;
    use super::*;
    use chacha20::ChaCha20Rng;
    use p3_air::check_all_constraints;
    use p3_field::PrimeCharacteristicRing;
    use rand_core::{Rng, SeedableRng};
    use std::thread;

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([9; 32])
    }

    fn element(rng: &mut ChaCha20Rng) -> KoalaBear {
        KoalaBear::from_int(rng.next_u64())
    }

    fn node(rng: &mut ChaCha20Rng) -> Node {
        Node([(); NODE].map(|()| element(rng)))
    }

    fn holds(table: &RowMajorMatrix<KoalaBear>, public: &[KoalaBear]) -> bool {
        check_all_constraints(&Circuit, table, public, Some(1)).is_ok()
    }

    /// A witness in a tree of some depth, and its table.
    struct Case {
        secret: Secret,
        attributes: Node,
        context: Node,
        index: u64,
        siblings: Vec<Node>,
        table: RowMajorMatrix<KoalaBear>,
        statement: Statement,
    }

    fn case(index: u64, depth: usize) -> Case {
        let rng = &mut rng();
        let mut seed = [0; Secret::SEED];
        rng.fill_bytes(&mut seed);
        let secret = Secret::of_seed(&seed);
        let (attributes, context) = (node(rng), node(rng));
        let siblings: Vec<_> = (0..depth).map(|_| node(rng)).collect();
        let (table, statement) = trace(&secret, &attributes, &context, index, &siblings);
        Case { secret, attributes, context, index, siblings, table, statement }
    }

    /// The permutation of the circuit against the library's, which is another implementation.
    #[test]
    fn compresses_as_the_hash_does() {
        let rng = &mut rng();
        for _ in 0..1000 {
            let (left, right) = (node(rng), node(rng));
            let input = array::from_fn(|i| [left, right][i / NODE].0[i % NODE]);
            let mut cells = 0;
            let output = compress(&input, |_| cells += 1);
            assert_eq!(Node(output), hash::compress(&left, &right));
            assert_eq!(cells, STATES);
        }
    }

    #[test]
    fn a_table_proves_what_the_hash_says() {
        for (index, depth) in [(0, 0), (0, 20), (0xf_ffff, 20), (0x2_4c3a_9b71, 34), (1 << 61, 62)]
        {
            let case = case(index, depth);
            let mut root = case.secret.leaf(&case.attributes);
            for level in 0..DEPTH {
                let sibling = case.siblings.get(level).unwrap_or(&Node::ZERO);
                root = match (index >> level) & 1 {
                    0 => hash::compress(&root, sibling),
                    _ => hash::compress(sibling, &root),
                };
            }
            let nullifier = case.secret.nullifier(&case.context);
            assert_eq!(case.statement, Statement { root, context: case.context, nullifier });
            assert_eq!(case.table.values.len(), ROWS * COLUMNS);
            assert!(holds(&case.table, &public_values(&case.statement)));
        }
    }

    #[test]
    fn every_cell_counts() {
        let case = case(0x1234_5678_9abc_def0 >> 2, DEPTH);
        let public = public_values(&case.statement);
        thread::scope(|scope| {
            for part in 0..4 {
                let mut table = case.table.clone();
                scope.spawn(move || {
                    for cell in (part..ROWS * COLUMNS).step_by(4) {
                        let value = table.values[cell];
                        // Another value, and the other side where it is one.
                        for other in [value + KoalaBear::ONE, KoalaBear::ONE - value] {
                            table.values[cell] = other;
                            let (row, column) = (cell / COLUMNS, cell % COLUMNS);
                            assert!(
                                other == value || !holds(&table, &public),
                                "row {row} column {column}"
                            );
                        }
                        table.values[cell] = value;
                    }
                });
            }
        });
    }

    #[test]
    fn every_public_input_counts() {
        let case = case(77, 30);
        let public = public_values(&case.statement);
        for i in 0..PUBLIC {
            let mut public = public;
            public[i] += KoalaBear::ONE;
            assert!(!holds(&case.table, &public), "{i}");
        }
    }

    /// Whole rows that are right by themselves, in the wrong place.
    #[test]
    fn rows_have_their_places() {
        let case = case(0x0f0f_0f0f, DEPTH);
        let public = public_values(&case.statement);
        for row in 0..ROWS {
            for other in [(row + 1) % ROWS, (row + 31) % ROWS, 0, 1] {
                if row == other {
                    continue;
                }
                let mut table = case.table.clone();
                for column in 0..COLUMNS {
                    table.values.swap(row * COLUMNS + column, other * COLUMNS + column);
                }
                assert!(!holds(&table, &public), "rows {row} and {other}");
            }
        }
    }

    #[test]
    fn another_witness_is_another_statement() {
        let Case { secret, attributes, context, index, siblings, statement, .. } = &case(5, 20);
        let public = public_values(statement);
        let other = Secret::of_seed(&[1; Secret::SEED]);
        let mut sibling = siblings.clone();
        sibling[7].0[3] += KoalaBear::ONE;
        let wrong = [
            trace(&other, attributes, context, *index, siblings),
            trace(secret, &Node::ZERO, context, *index, siblings),
            trace(secret, attributes, &Node::ZERO, *index, siblings),
            trace(secret, attributes, context, index ^ 4, siblings),
            trace(secret, attributes, context, *index, &sibling),
            trace(secret, attributes, context, *index, &siblings[..19]),
        ];
        for (i, (table, _)) in wrong.iter().enumerate() {
            assert!(!holds(table, &public), "{i}");
        }
        // The nullifier of a secret that is not the leaf's: row 0 of one table, the rest of another.
        let (mut table, mixed) = trace(&other, attributes, context, *index, siblings);
        let (first, _) = trace(secret, attributes, context, *index, siblings);
        table.values[..COLUMNS].copy_from_slice(&first.values[..COLUMNS]);
        let mixed = Statement { nullifier: statement.nullifier, ..mixed };
        assert!(!holds(&table, &public_values(&mixed)));
    }
}
