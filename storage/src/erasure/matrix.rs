//! Matrices over GF(2^8), as many rows as wanted of k coefficients each.

use std::ops::Deref;

use super::field::{inverse, multiply};
use super::kernel::multiply_add;

#[derive(Clone, Debug)]
pub(super) struct Matrix(Vec<Vec<u8>>);

impl Matrix {
    /// The k rows of the identity, then m of parity: 1 / ((k + i) xor j). As i and j differ in k + i >= k > j, the
    /// divisor is never zero.
    pub fn systematic_cauchy(k: u8, m: u8) -> Self {
        let row =
            |i: u8| (0..k).map(move |j| if i < k { u8::from(i == j) } else { inverse(i ^ j) }).collect();
        Matrix((0..k + m).map(row).collect())
    }

    /// The rows of these indexes.
    pub fn select(&self, indexes: impl Iterator<Item = u8>) -> Self {
        Matrix(indexes.map(|index| self.0[usize::from(index)].clone()).collect())
    }

    /// The product with a square matrix.
    pub fn times(&self, right: &Matrix) -> Self {
        let row = |left: &Vec<u8>| {
            let mut sum = vec![0; right.0.len()];
            left.iter()
                .zip(&right.0)
                .for_each(|(coefficient, row)| multiply_add(*coefficient, row, &mut sum));
            sum
        };
        Matrix(self.0.iter().map(row).collect())
    }

    /// The inverse of a matrix of k distinct rows of [`Matrix::systematic_cauchy`], by Gauss and Jordan: what turns the
    /// left half into the identity turns the identity beside it into the inverse.
    pub fn inverse(self) -> Self {
        let k = self.0.len();
        let unit = |i: usize| (0..k).map(move |j| u8::from(i == j));
        let mut rows: Vec<Vec<u8>> =
            self.0.into_iter().enumerate().map(|(i, row)| row.into_iter().chain(unit(i)).collect()).collect();
        for column in 0..k {
            let found = (column..k).find(|row| rows[*row][column] != 0);
            rows.swap(column, found.expect("distinct rows of a Cauchy code are independent"));
            let scale = inverse(rows[column][column]);
            let pivot: Vec<u8> = rows[column].iter().map(|value| multiply(scale, *value)).collect();
            for row in &mut rows {
                multiply_add(row[column], &pivot, row);
            }
            rows[column] = pivot;
        }
        Matrix(rows.into_iter().map(|mut row| row.split_off(k)).collect())
    }
}

impl Deref for Matrix {
    type Target = [Vec<u8>];

    fn deref(&self) -> &[Vec<u8>] {
        &self.0
    }
}
