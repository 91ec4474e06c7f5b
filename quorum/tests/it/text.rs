//! How systems read.

use crate::reference::nodes;
use synod_core::NodeId;
use synod_quorum::{Expr, Grid, Quorum};

#[test]
fn formulas_read_like_their_builders() {
    let show = |quorum: Result<Quorum, _>| quorum.unwrap().to_string();
    let majority = || Quorum::majority(nodes([3, 1, 2]));
    assert_eq!(show(majority()), "majority(n1, n2, n3)");
    assert_eq!(
        show(Quorum::count(2, nodes(1..=4))),
        "2 of (n1, n2, n3, n4)"
    );
    assert_eq!(show(Quorum::count(1, nodes(1..=4))), "any(n1, n2, n3, n4)");
    assert_eq!(show(Quorum::count(4, nodes(1..=4))), "all(n1, n2, n3, n4)");
    assert_eq!(show(Quorum::majority(nodes([8]))), "n8");
    assert_eq!(
        show(Quorum::weighted(
            3,
            [(NodeId(1), 2), (NodeId(2), 1), (NodeId(3), 1)]
        )),
        "3 of (2*n1, n2, n3)",
    );
    // with weights, one is not any
    let parts = [(NodeId(1), 2), (NodeId(2), 1)];
    assert_eq!(Expr::weighted(1, parts).to_string(), "1 of (2*n1, n2)");
    assert_eq!(Expr::weighted(3, parts).to_string(), "3 of (2*n1, n2)");
    let grid = Grid::new(nodes(1..=4), 2).unwrap();
    assert_eq!(
        show(Quorum::new(grid.row())),
        "any(all(n1, n2), all(n3, n4))"
    );
    assert_eq!(
        show(Quorum::joint(
            &majority().unwrap(),
            &Quorum::majority(nodes(2..=6)).unwrap()
        )),
        "all(majority(n1, n2, n3), majority(n2, n3, n4, n5, n6))",
    );
    assert_eq!(
        show(majority().unwrap().over(nodes(1..=4))),
        "majority(n1, n2, n3) among {n1, n2, n3, n4}",
    );
    assert_eq!(
        format!("{:?}", majority().unwrap()),
        "Quorum(majority(n1, n2, n3))"
    );
}

#[test]
fn a_part_that_is_alone_stands_for_itself() {
    let expr = Expr::all([Expr::any([Expr::all(nodes([1]))]), Expr::any(nodes([2, 3]))]);
    assert_eq!(
        Quorum::new(expr).unwrap().to_string(),
        "all(n1, any(n2, n3))"
    );
}

#[test]
fn a_picture_shows_who_holds_the_answer() {
    let grid = Grid::new(nodes([1, 2, 10, 11]), 2).unwrap();
    let quorum = Quorum::new(grid.row()).unwrap();
    let picture = quorum.picture(&[5, 5, 90, 3]).to_string();
    assert_eq!(
        picture,
        "any(all(n1, n2), all(n10, n11)) has reached 5\n\
         n1  xxx> 5 *\n\
         n2  xxx> 5 *\n\
         n10 xxxx> 90 *\n\
         n11 x> 3\n",
    );
}
