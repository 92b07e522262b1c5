-- A worker that stops returns a job. ARGV: epoch, kind, id, consumer, deliveries
open_gate()
if not stands(ARGV[2], ARGV[3], ARGV[4], ARGV[5]) then return { 0 } end
give_back(ARGV[2], ARGV[3], false)
return { 1 }
